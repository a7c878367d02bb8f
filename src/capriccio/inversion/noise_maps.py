"""Noise maps as variables of projection: kept free of pattern, so that they carry no picture.

Source: Karras et al. 2020, appendix on projection.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_SIDE = 8
"""The pyramid of the regulariser ends at this side."""


def noise_regularizer(maps: Sequence[Tensor]) -> Tensor:
    """Return how much neighbours agree in noise maps, [N]: 0 for white noise of infinite size.

    Squared means of the product with the map shifted by one, wrapped around, over a pyramid of 2×2 averages. Averages
    are not scaled back to unit variance, as in the reference programs, so coarse levels count less.

    Args:
        maps: one [N, 1, H, W] for each layer.
    """
    total = maps[0].new_zeros(len(maps[0]))
    for noise in maps:
        level = noise
        while True:
            for axis in (3, 2):
                total = total + (level * level.roll(1, axis)).mean(dim=(1, 2, 3)).square()
            if min(level.shape[2:]) <= SMALLEST_SIDE:
                break
            level = functional.avg_pool2d(level, 2)
    return total


@torch.no_grad()
def normalize_noise(maps: Sequence[Tensor]) -> None:
    """Bring every map, [N, 1, H, W], to mean 0 and root mean square 1 in place."""
    for noise in maps:
        noise -= noise.mean(dim=(1, 2, 3), keepdim=True)
        noise *= noise.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
