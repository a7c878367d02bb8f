"""From a network's image to bytes and back, the way the field rounds."""

from __future__ import annotations

import torch
from torch import Tensor


def quantize(images: Tensor) -> Tensor:
    """Return floor(clamp(127.5·x + 128, 0, 255)) as bytes, uint8, shape and device of ``images``.

    Args:
        images: any shape, −1…1, finite.
    """
    return (images.detach().float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def dequantize(pixels: Tensor) -> Tensor:
    """Return x/127.5 − 1, −1…1, float32, of ``pixels`` in 0…255; any shape, bytes or resized ones, on their device."""
    return pixels.float() / 127.5 - 1
