"""What a projection is to solve: pictures, the network, the distance; and what it tells after each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.errors import ShapeError
from capriccio.networks.generator import Generator
from capriccio.perception.protocols import PerceptualDistance

MAX_PIXEL = 100.0
"""Largest magnitude of a pixel that is taken for meant: untrained networks overshoot −1…1 by far, bytes lie above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far a projection is."""

    step: int
    """Steps done."""
    num_steps: int
    """Steps in all; early stopping may end before."""
    distances: Tensor
    """Distance of each picture at this step, [N]."""
    images: Tensor
    """The reconstructions, about −1…1, [N, C, H, W]."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Pictures to be found in a network."""

    generator: Generator
    """The network; its weights take no gradients while it is projected into."""
    distance: PerceptualDistance
    """What is made small."""
    targets: Tensor
    """The pictures, −1…1, [N, C, H, W]."""
    masks: Tensor | None = None
    """Which pixels count, 0…1, [N, 1, H, W]; None = all."""

    def __post_init__(self) -> None:
        shape = self.generator.config.shape
        if self.targets.ndim != 4 or tuple(self.targets.shape[1:]) != (shape.channels, shape.height, shape.width):
            raise ShapeError(
                f"pictures to project must be [N, {shape.channels}, {shape.height}, {shape.width}] for this model, "
                f"got {list(self.targets.shape)}."
            )
        largest = float(self.targets.abs().max()) if len(self.targets) else 0.0
        if not largest <= MAX_PIXEL:  # nor is NaN
            raise ShapeError(
                f"pictures to project lie in −1…1, got {largest:g}. Bytes are divided by 127.5, and 1 is subtracted."
            )
        if self.masks is not None and self.masks.shape != (len(self.targets), 1, shape.height, shape.width):
            raise ShapeError(
                f"masks must be [{len(self.targets)}, 1, {shape.height}, {shape.width}], got {list(self.masks.shape)}."
            )

    def paint(self, ws: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """Return images of latent rows, not clamped; ``noise``: maps of each layer, None = the network's own."""
        images: Tensor = self.generator.synthesis(ws, "const" if noise is None else noise)
        return images

    def shown(self, images: Tensor) -> Tensor:
        """Return images as the distance sees them: outside the mask they are the target itself."""
        if self.masks is None:
            return images
        return torch.lerp(self.targets, images, self.masks)

    @torch.no_grad()
    def goal(self, prepare: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the vectors of the targets, [N, D]."""
        return self.distance.vectors(self.targets if prepare is None else prepare(self.targets))

    def distances(self, images: Tensor, goal: Tensor) -> Tensor:
        """Return the distance of each image from its goal, [N]."""
        return (self.distance.vectors(images) - goal).square().sum(dim=1)

    def rows(self, rows: Tensor | Sequence[int] | slice) -> Problem:
        """Return the problem of some of the pictures."""
        return Problem(
            generator=self.generator,
            distance=self.distance,
            targets=self.targets[rows],
            masks=None if self.masks is None else self.masks[rows],
        )
