"""Latents that were found for a tuned network are painted by it: its tuning is looked for beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capriccio.errors import SnapshotError, UsageError
from capriccio.latent.files import Latents, load_latents
from capriccio.loading.model import Model
from capriccio.rendering.sources import Source
from capriccio.snapshots.tuning import load_tuning

TUNING_FILE = "tuning.safetensors"
"""Name of a tuning beside the latents it was made for, or one folder above."""


def with_tuning(model: Model, sources: Sequence[Source], asked: str = "auto") -> Model:
    """Return the model that paints ``sources``: ``model``, or ``model`` tuned.

    Args:
        model: the network.
        sources: seeds and latents that will be painted together.
        asked: a file; "none" = the network as it is; "auto" = the tuning that latents say they were found for.

    Raises: UsageError if that tuning is not beside its latents, or the sources were tuned apart; SnapshotError if the
        file is no tuning or one of another network.
    """
    if asked == "none":
        return model
    if asked != "auto":
        return model.tuned(Path(asked))
    wanted: dict[str, Source] = {}
    for source in sources:
        if (tuned := _tuned_network(source, model)) is not None:
            wanted.setdefault(tuned, source)
    if not wanted:
        return model
    if len(wanted) > 1:
        files = " and ".join(f"'{source}'" for source in wanted.values() if isinstance(source, Path))
        raise UsageError(f"{files or 'these latents'} belong to different tunings. Tune their pictures together "
                         "(project --tune together), or choose one network: --tuning FILE or none.")  # fmt: skip
    (tuned, source), *_ = wanted.items()
    return model.tuned(_beside(source, tuned))


def _tuned_network(source: Source, model: Model) -> str | None:
    """Return the hash of the tuned network that latents belong to, where ``model`` can be tuned to it."""
    if isinstance(source, Path):
        source = load_latents(source)
    record = source.provenance if isinstance(source, Latents) else None
    if record is None or record.tuned_from != model.model_hash:
        return None
    return record.model_hash


def _beside(source: Source, tuned: str) -> Path:
    """Return the tuning file of the network ``tuned`` near a latents file. Raises: UsageError if there is none."""
    if isinstance(source, Path):
        for folder in (source.parent, source.resolve().parent.parent):
            path = folder / TUNING_FILE
            try:
                if path.is_file() and load_tuning(path).tuned == tuned:
                    return path
            except SnapshotError:
                continue  # damaged, or not a tuning: not the one that is looked for
    named = f"'{source}' was" if isinstance(source, Path) else "these latents were"
    raise UsageError(f"{named} found for a tuned network ({tuned}), whose {TUNING_FILE} is not beside. Name it with "
                     "--tuning FILE, or paint with the network as it is: --tuning none.")  # fmt: skip
