"""Pixels at several scales as one vector: a distance whose coarse part shows the way before details agree."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NUM_SCALES = 4
"""The pictures themselves and up to three halvings of them."""


def pyramid(images: Tensor) -> Tensor:
    """Return vectors [N, D] whose squared distances are mean squared differences, averaged over scales.

    Args:
        images: [N, C, H, W].
    """
    scales = [images]
    while len(scales) < NUM_SCALES and min(scales[-1].shape[2:]) >= 2:
        scales.append(functional.avg_pool2d(scales[-1], 2))
    return torch.cat([s.flatten(1) * (s[0].numel() * len(scales)) ** -0.5 for s in scales], dim=1)
