"""A grey rectangle somewhere in the picture.

Source: DeVries, Taylor 2017 (Cutout); the ADA paper, appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor

from capriccio.augmentation.parameters import CutoutParameters


def cutout_mask(given: CutoutParameters, height: int, width: int) -> Tensor:
    """Return [N, 1, H, W]: 0 inside the rectangle, 1 outside."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    half = given.size[:, None] / 2
    beside_x = (x - given.center[:, :1]).abs() >= half
    beside_y = (y - given.center[:, 1:]).abs() >= half
    return (beside_x[:, None, :] | beside_y[:, :, None]).float()[:, None]
