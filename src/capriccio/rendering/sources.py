"""Where latents come from: seeds, or latents that were stored (projected photographs, edits).

A source is asked for a few latents at a time, so that thousands of pictures need the memory of one batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from capriccio.config import MAX_SEED
from capriccio.errors import CapriccioWarning, UsageError
from capriccio.latent.files import SUFFIXES, Latents, load_latents
from capriccio.latent.seeds import parse_seeds
from capriccio.provenance import Provenance
from capriccio.rendering.look import Look

if TYPE_CHECKING:
    from capriccio.loading.model import Model

Source = Sequence[int] | Path | Latents
"""Seeds, a latents file, or latents."""


class LatentSource(Protocol):
    """A number of latents, drawn on demand."""

    def __len__(self) -> int: ...

    def ws(self, start: int, stop: int) -> Tensor:
        """Return latents ``start`` … ``stop`` − 1, [stop − start, num_ws, w_dim]."""
        ...

    def noise_maps(self, start: int, stop: int) -> dict[str, Tensor]:
        """Return noise maps stored with these latents, [stop − start, H, W] by layer; none = the network's."""
        ...

    def label(self, index: int) -> str:
        """Return what people call the latent: "seed 42", "beach.jpg"."""
        ...

    def stem(self, index: int) -> str:
        """Return the file name without ending: "seed0042", "latent0003"."""
        ...

    def noise_seed(self, index: int) -> int:
        """Return the seed of the latent's noise, where noise is random."""
        ...

    def seeds(self, start: int, stop: int) -> tuple[int, ...]:
        """Return the seeds of these latents, none when they were stored."""
        ...

    def names(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the names of stored latents, none when they come from seeds."""
        ...


@dataclass(frozen=True, slots=True)
class SeededLatents:
    """Latents of seeds."""

    model: Model
    numbers: tuple[int, ...]
    look: Look

    def __len__(self) -> int:
        return len(self.numbers)

    def ws(self, start: int, stop: int) -> Tensor:
        """Map the seeds through the network."""
        chosen, look = self.numbers[start:stop], self.look
        c = None if look.class_index is None else self.model.label(look.class_index, len(chosen))
        ws: Tensor = self.model.ws(
            seeds=list(chosen), c=c, truncation_psi=look.truncation_psi, truncation_cutoff=look.truncation_cutoff
        )
        return ws

    def noise_maps(self, start: int, stop: int) -> dict[str, Tensor]:
        """Return nothing: seeds are painted with the network's own."""
        return {}

    def label(self, index: int) -> str:
        """Return "seed 42"."""
        return f"seed {self.numbers[index]}"

    def stem(self, index: int) -> str:
        """Return "seed0042", the field's convention."""
        return f"seed{self.numbers[index]:04d}"

    def noise_seed(self, index: int) -> int:
        """Return the seed itself."""
        return self.numbers[index]

    def seeds(self, start: int, stop: int) -> tuple[int, ...]:
        """Return the seeds."""
        return self.numbers[start:stop]

    def names(self, start: int, stop: int) -> tuple[str, ...]:
        """Return nothing: seeds name themselves."""
        return ()


@dataclass(frozen=True, slots=True)
class StoredLatents:
    """Latents that were stored."""

    model: Model
    latents: Latents
    file_name: str

    def __len__(self) -> int:
        return len(self.latents)

    def ws(self, start: int, stop: int) -> Tensor:
        """Return the stored rows on the model's device."""
        return self.latents.ws[start:stop].to(self.model.device)

    def noise_maps(self, start: int, stop: int) -> dict[str, Tensor]:
        """Return the stored maps."""
        return {name: maps[start:stop] for name, maps in self.latents.noise.items()}

    def label(self, index: int) -> str:
        """Return the stored name, or the file's with the index."""
        if self.latents.names:
            return self.latents.names[index]
        return self.file_name if len(self) == 1 else f"{self.file_name} {index}"

    def stem(self, index: int) -> str:
        """Return "latent0003"; stored names may be unfit for files."""
        return f"latent{index:04d}"

    def noise_seed(self, index: int) -> int:
        """Return the index."""
        return index

    def seeds(self, start: int, stop: int) -> tuple[int, ...]:
        """Return nothing: these were not drawn from seeds."""
        return ()

    def names(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the labels."""
        return tuple(self.label(index) for index in range(start, stop))


def parse_source(text: str) -> Source:
    """Return what ``text`` names on a command line: a latents file by its ending, else seeds like ``0-3,7``."""
    path = Path(text)
    return path if path.suffix.lower() in SUFFIXES else parse_seeds(text)


def open_source(model: Model, source: Source, look: Look) -> LatentSource:
    """Return the latents of ``source``, checked against ``model``.

    Raises: LookError if the network cannot paint ``look``; UsageError if there are none, a seed is out of range, or the
    file is not one of this network.
    """
    look.check(model, seeded=not isinstance(source, Path | Latents))
    if isinstance(source, Latents):
        if tuple(source.ws.shape[1:]) != (model.num_ws, model.w_dim):
            raise UsageError(f"Latents of shape {list(source.ws.shape)} do not fit this model, whose are "
                             f"[N, {model.num_ws}, {model.w_dim}]. Use the model they were made with.")  # fmt: skip
        _warn_of_strangers(source, "these latents", model)
        return StoredLatents(model, source, "latent")
    if isinstance(source, Path):
        latents = load_latents(source, num_ws=model.num_ws, w_dim=model.w_dim)
        _warn_of_strangers(latents, f"the latents of '{source}'", model)
        return StoredLatents(model, latents, source.name)
    if not source:
        raise UsageError("No seed was given. Name some, like 0-15,42, or a latents file.")
    for seed in source:
        if not 0 <= seed <= MAX_SEED:
            raise UsageError(f"Seed {seed} is out of range; seeds lie in 0..{MAX_SEED}.")
    return SeededLatents(model, tuple(source), look)


def _warn_of_strangers(latents: Latents, which: str, model: Model) -> None:
    """Warn of latents that belong to another network: relatives understand them, others paint anything."""
    record = latents.provenance
    if record is None or model.model_hash in (record.model_hash, record.tuned_from):
        return
    if model.tuned_from is not None and model.tuned_from in (record.model_hash, record.tuned_from):
        return
    warnings.warn(
        f"{which} were found for another network ({record.model_hash}, this one is {model.model_hash}): only a "
        "relative of it shows the same with them.",
        CapriccioWarning,
        stacklevel=3,
    )


def provenance_of(
    model: Model, look: Look, source: LatentSource, start: int, stop: int, *, kind: str = "picture"
) -> Provenance:
    """Return the record of a file made from latents ``start`` … ``stop`` − 1 of ``source``."""
    seeds = source.seeds(start, stop)
    return Provenance(
        model_hash=model.model_hash,
        licence=model.licence,
        kind=kind,
        seeds=seeds,
        latents=source.names(start, stop),
        truncation_psi=look.truncation_psi if seeds else None,
        truncation_cutoff=look.truncation_cutoff if seeds else None,
        noise_mode=look.noise_mode,
        noise_seed=source.noise_seed(start) if look.noise_mode == "random" and stop == start + 1 else None,
        class_index=model.class_index(look.class_index) if seeds and look.class_index is not None else None,
        tuned_from=model.tuned_from,
    )
