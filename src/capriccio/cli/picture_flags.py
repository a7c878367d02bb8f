"""What the commands that paint pictures share: the same flags, and the model and look these name.

Torch is imported when a model is loaded, not when help is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from capriccio.cli.parser import CLASS_HELP, DEVICE_HELP, MODEL_HELP, CommandParser, add_precision, at_least
from capriccio.errors import UsageError

if TYPE_CHECKING:
    from capriccio.loading.model import Model
    from capriccio.rendering.look import Look
    from capriccio.rendering.sources import Source


def add_picture_flags(parser: CommandParser, *, batch: int = 16) -> None:
    """Add the flags that mean the same in every command that paints pictures."""
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument(
        "--tuning", type=str, default="auto",
        help="File of 'project --tune' that the network is changed by; auto: the one beside latents that were found "
        "with it; none: the network as it is.",
    )  # fmt: skip
    look = parser.add_argument_group("from seed to picture")
    look.add_argument(
        "--psi", type=float, default=0.7,
        help="Truncation: share of the distance to the mean latent that stays; 1 = full variety, 0 = the mean picture.",
    )  # fmt: skip
    look.add_argument(
        "--cutoff", type=int | None, default=None, help="Truncate this many rows, counted from coarse; null = all."
    )
    look.add_argument(
        "--noise-mode", type=Literal["const", "none", "random"], default="const",
        help="const: the network's own noise; none; random: other noise for each seed.",
    )  # fmt: skip
    look.add_argument("--class", type=str | None, default=None, help=CLASS_HELP)
    computing = parser.add_argument_group("computing")
    computing.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    add_precision(
        computing,
        "In fp32 a seed is the same picture in every batch and on every machine, up to rounding; bf16 is faster.",
    )
    computing.add_argument("--batch", type=int, default=batch, help="Pictures painted at once; none depends on it.")
    parser.add_argument("--json", action="store_true", help="Print what was written as one JSON document.")


def load_model(asked: Namespace, look: Look, *sources: Source) -> Model:
    """Return the model that ``--model``, ``--device`` and ``--precision`` name, tuned as ``--tuning`` says.

    Args:
        asked: the flags.
        look: what they ask of pictures, as :func:`look_of` tells it.
        sources: what it will paint; latents may have been found for a tuned network.

    Raises: UsageError naming the flag that does not fit the model.
    """
    from capriccio.latent.files import Latents
    from capriccio.loading.model import load
    from capriccio.rendering.tuned_sources import with_tuning

    model = load(asked.model, device=asked.device, precision=asked.precision)
    with look_as_flags():
        look.check(model, seeded=any(not isinstance(source, Path | Latents) for source in sources))
    return with_tuning(model, sources, asked.tuning)


def look_of(asked: Namespace) -> Look:
    """Return how seeds become pictures: ``--psi``, ``--cutoff``, ``--noise-mode``, ``--class``.

    Raises: UsageError naming the flag that makes no sense for any model; ``--batch``, too.
    """
    from capriccio.rendering.look import Look

    at_least("--batch", asked.batch)
    with look_as_flags():
        return Look(
            truncation_psi=asked.psi,
            truncation_cutoff=asked.cutoff,
            noise_mode=asked.noise_mode,
            class_index=asked["class"],
        )


def class_of(asked: Namespace, model: Model) -> int | None:
    """Return the number of the class that ``--class`` names, None without it. Raises: UsageError naming the flag."""
    try:
        return None if asked["class"] is None else model.class_index(asked["class"])
    except UsageError as error:
        raise UsageError(f"--{error}") from error


@contextmanager
def look_as_flags() -> Iterator[None]:
    """Let errors about a look name the flag that gave it."""
    from capriccio.rendering.look import LookError

    try:
        yield
    except LookError as error:
        raise UsageError(f"--{error}") from error


def source_of(text: str, flag: str) -> Source:
    """Return the seeds, or the latents file, that was given to ``flag``.

    Raises: UsageError naming the flag.
    """
    from capriccio.data.archive import is_picture
    from capriccio.rendering.projection import LATENTS_FILE
    from capriccio.rendering.sources import parse_source

    path = Path(text)
    if path.is_dir():
        inside = path / LATENTS_FILE
        told = f"its latents are {inside}" if inside.is_file() else "name seeds like 0-3,7, or a latents file"
        raise UsageError(f"{flag}: '{text}' is a folder; {told}.")
    if is_picture(path.name) and path.is_file():
        raise UsageError(f"{flag}: '{text}' is a picture; 'capriccio project' finds its latents.")
    try:
        return parse_source(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error}") from error


def tell_written(files: Sequence[Path], told: str, *, as_json: bool) -> None:
    """Print what a command wrote, for people or as JSON."""
    print(json.dumps({"files": [str(path) for path in files]}) if as_json else told)
