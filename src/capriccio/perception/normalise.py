"""The two ways in which networks trained on ImageNet expect their pictures."""

from __future__ import annotations

import torch
from torch import Tensor

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)


def imagenet(images: Tensor) -> Tensor:
    """Return RGB images, from −1…1, with the mean and deviation of ImageNet taken out.

    LPIPS states the same as a shift of (−0.030, −0.088, −0.188) and a scale of (0.458, 0.448, 0.450) in −1…1.
    """
    mean, std = (torch.tensor(v, device=images.device, dtype=images.dtype)[:, None, None] for v in (_MEAN, _STD))
    return ((images + 1) / 2 - mean) / std


def caffe(images: Tensor) -> Tensor:
    """Return RGB images, from −1…1, as networks of the Caffe framework want them: BGR, 0…255, mean taken out."""
    mean = torch.tensor(_CAFFE_MEAN_BGR, device=images.device, dtype=images.dtype)[:, None, None]
    return (images.flip(1) + 1) * 127.5 - mean
