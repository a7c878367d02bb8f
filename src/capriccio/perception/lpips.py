"""LPIPS: distances of deep activations, weighted by what people judged to look alike.

Source: Zhang et al. 2018 (The Unreasonable Effectiveness of Deep Features as a Perceptual Metric), version 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from capriccio.errors import SnapshotError
from capriccio.perception.pixels import as_rgb_groups, resize
from capriccio.perception.protocols import NetworkCard
from capriccio.perception.weights import LoadedWeights

EPSILON = 1e-10
"""Added to the norm of an activation before dividing by it."""


class Trunk(Protocol):
    """A network whose activations at several depths are compared."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the activations."""
        ...

    @property
    def smallest_side(self) -> int:
        """The smallest picture side it can see."""
        ...

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return activations of RGB images [N, 3, H, W] in −1…1."""
        ...


class Lpips:
    """The distance of a trunk and its published heads."""

    def __init__(
        self, trunk: Trunk, heads: LoadedWeights, card: NetworkCard, device: torch.device | str = "cpu"
    ) -> None:
        """Raises: SnapshotError if ``heads`` are not those of ``trunk``."""
        self._trunk = trunk
        self._weights = [w.to(device) for w in _head_weights(heads, trunk.channels)]
        self._device = device
        self.card = card

    def vectors(self, images: Tensor) -> Tensor:
        """Return [N, D] whose squared Euclidean distances are LPIPS distances; differentiable.

        Pictures smaller than the trunk can see are enlarged; channels beyond RGB are seen as grey pictures of their
        own, and the distance is the mean over them.

        Args:
            images: [N, C, H, W], about −1…1, compared at the resolution given (reduce large ones to 256 before).
        """
        images = images.to(self._device, torch.float32)
        height, width = images.shape[2:]
        scale = -(-self._trunk.smallest_side // min(height, width))
        if scale > 1:
            images = resize(images, height * scale, width * scale)
        groups = as_rgb_groups(images)
        parts = [part for group in groups for part in self._parts(group)]
        vectors: Tensor = torch.cat(parts, dim=1) * len(groups) ** -0.5
        return vectors

    def _parts(self, rgb: Tensor) -> list[Tensor]:
        """Activations of unit length at every position, times √(weight/positions), [N, C·h·w] each."""
        parts = []
        for x, weight in zip(self._trunk(rgb), self._weights, strict=True):
            # The small number inside the root keeps its derivative finite where nothing is active.
            length = (x.square().sum(dim=1, keepdim=True) + EPSILON**2).sqrt() + EPSILON
            positions = x.shape[2] * x.shape[3]
            parts.append((x / length * (weight / positions).sqrt()[:, None, None]).flatten(1))
        return parts


def _head_weights(heads: LoadedWeights, channels: Sequence[int]) -> list[Tensor]:
    """Return the weights [C] of every depth. Raises: SnapshotError if they are not those of this trunk."""
    names = [f"lin{i}.model.1.weight" for i in range(len(channels))]
    shapes = [tuple(heads.tensors[name].shape) if name in heads.tensors else None for name in names]
    if shapes != [(1, c, 1, 1) for c in channels] or len(heads.tensors) != len(channels):
        raise SnapshotError(
            f"LPIPS heads for activations of {', '.join(map(str, channels))} channels are needed; this file has "
            f"{', '.join(f'{n} {list(t.shape)}' for n, t in heads.tensors.items())}."
        )
    return [heads.tensors[name].flatten().clamp(min=0) for name in names]
