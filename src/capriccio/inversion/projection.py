"""What a projection is asked for, and what it found.

What it found goes into mixing, editing and films: a :class:`Projection` is saved as a latents file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.latent.files import Extra, Latents, load_with_extra, save_latents
from capriccio.perception.protocols import NetworkCard
from capriccio.provenance import Provenance

Method = Literal["fast", "official"]
Space = Literal["w", "w+"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionSettings:
    """How pictures are projected."""

    method: Method = "fast"
    """fast = a guess and Gauss-Newton steps; official = the paper's, step for step."""
    space: Space = "w"
    """w = one row for all layers; w+ = a row for each: nearer to photographs, farther from what the network makes."""
    num_steps: int | None = None
    """Steps; None = the method's own number (12 or 24 linearisations, and 1000)."""
    num_restarts: int = 1
    """Starts of the fast method, the best is kept; 1…16."""
    num_descent_steps: int = 0
    """Steps of the fast method on the named distance afterwards."""
    optimize_noise: bool = False
    """Whether the fast method also looks for noise maps; the official one always does."""
    seed: int = 303
    """Of whatever is drawn."""

    def __post_init__(self) -> None:
        if self.method not in ("fast", "official"):
            raise UsageError(f"the method is fast or official, got '{self.method}'.")
        if self.space not in ("w", "w+"):
            raise UsageError(f"the space is w or w+, got '{self.space}'.")
        if self.method == "official" and (self.space != "w" or self.num_restarts != 1 or self.num_descent_steps):
            raise UsageError("the official method knows the space w, one start and no descent; use --method fast.")
        if self.num_steps is not None and not 1 <= self.num_steps <= 100_000:
            raise UsageError(f"steps lie in 1..100000, got {self.num_steps}.")
        if not 0 <= self.num_descent_steps <= 100_000:
            raise UsageError(f"steps of descent lie in 0..100000, got {self.num_descent_steps}.")
        if not 1 <= self.num_restarts <= 16:
            raise UsageError(f"restarts lie in 1..16, got {self.num_restarts}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Latents found for pictures, and how well they reconstruct them."""

    ws: Tensor
    """Latent rows, [N, num_ws, w_dim]."""
    noise: dict[str, Tensor] = field(default_factory=dict)
    """Noise maps that go with them by layer name, [N, H, W]; empty = the network's own."""
    images: Tensor
    """The reconstructions, −1…1, [N, C, H, W]."""
    distances: Tensor
    """Distance of each reconstruction from its picture, [N]."""
    history: list[Tensor]
    """Distances after every step, [N] each."""
    distance: NetworkCard
    """Which distance it is."""
    model_hash: str
    """Which network."""
    licence: str
    """Licence of its weights."""
    settings: ProjectionSettings
    """How."""
    seconds: float
    """Whole time for the batch."""

    def save(self, path: str | Path, names: tuple[str, ...] = ()) -> Path:
        """Write everything to a latents file (``.safetensors`` or ``.npz``), which mix, edit, video and generate take.

        Args:
            path: the file.
            names: what the pictures are called; none or one for each.

        Raises: UsageError for another ending; StorageError if the disk does not take it.
        """
        record = Provenance(model_hash=self.model_hash, licence=self.licence, kind="projection", latents=names)
        latents = Latents(ws=self.ws, noise=self.noise, names=names, provenance=record)
        arrays = {"images": self.images, "distances": self.distances, "history": self._history_table()}
        facts = {"distance": asdict(self.distance), "settings": asdict(self.settings), "seconds": self.seconds}
        return save_latents(path, latents, Extra(arrays=arrays, facts=facts))

    def _history_table(self) -> Tensor:
        return torch.stack(self.history) if self.history else torch.zeros(0, len(self.ws))

    def one(self, index: int) -> Projection:
        """Return what was found for one picture of the batch."""
        chosen = slice(index, index + 1)
        return replace(
            self,
            ws=self.ws[chosen],
            noise={name: maps[chosen] for name, maps in self.noise.items()},
            images=self.images[chosen],
            distances=self.distances[chosen],
            history=[step[chosen] for step in self.history],
            seconds=self.seconds / len(self.ws),
        )

    @classmethod
    def load(cls, path: str | Path) -> Projection:
        """Read what :meth:`save` wrote.

        Raises: UsageError, naming the file, if it is missing or damaged, or holds latents alone.
        """
        latents, extra = load_with_extra(path)
        try:
            if latents.provenance is None:
                raise KeyError("provenance")
            return cls(
                ws=latents.ws,
                noise=dict(latents.noise),
                images=extra.arrays["images"],
                distances=extra.arrays["distances"],
                history=list(extra.arrays["history"]),
                distance=NetworkCard(**extra.facts["distance"]),
                model_hash=latents.provenance.model_hash,
                licence=latents.provenance.licence,
                settings=ProjectionSettings(**extra.facts["settings"]),
                seconds=float(extra.facts["seconds"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{path}: no whole projection, latents at most ({error}).") from error


def joined(parts: Sequence[Projection]) -> Projection:
    """Return projections of several batches as one; its history is as long as the longest."""
    length = max(len(p.history) for p in parts)
    histories = [p.history + [p.history[-1]] * (length - len(p.history)) for p in parts]
    return replace(
        parts[0],
        ws=torch.cat([p.ws for p in parts]),
        noise={name: torch.cat([p.noise[name] for p in parts]) for name in parts[0].noise},
        images=torch.cat([p.images for p in parts]),
        distances=torch.cat([p.distances for p in parts]),
        history=[torch.cat(step) for step in zip(*histories, strict=True)],
        seconds=sum(p.seconds for p in parts),
    )
