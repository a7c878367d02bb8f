"""Channels and sizes that feature networks expect: grey to RGB, resizing in its several conventions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.errors import ShapeError


def as_rgb(images: Tensor, what: str) -> Tensor:
    """Return [N, 3, H, W] of grey or RGB images, grey repeated.

    Raises: ShapeError naming ``what`` for other channel counts.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ShapeError(
            f"{what} knows grey and RGB pictures, these have {channels} channels; use fd_random or fd_discriminator."
        )
    return images.expand(-1, 3, -1, -1)


def as_rgb_groups(images: Tensor) -> list[Tensor]:
    """Return the images as one or more [N, 3, H, W], so that a network of RGB pictures sees every channel.

    RGB stays as it is, RGBA becomes RGB and alpha as grey, others one grey picture for each channel.
    """
    channels = images.shape[1]
    if channels == 3:
        return [images]
    if channels == 4:
        return [images[:, :3], images[:, 3:].expand(-1, 3, -1, -1)]
    return [images[:, i : i + 1].expand(-1, 3, -1, -1) for i in range(channels)]


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize bilinearly with half-pixel centres, antialiased where it reduces; [N, C, H, W] floats."""
    if images.shape[2:] == (height, width):
        return images
    return functional.interpolate(
        images, (height, width), mode="bilinear", align_corners=False, antialias=images.shape[2] > height
    )


def resize_tf1(images: Tensor, height: int, width: int) -> Tensor:
    """Resize as TensorFlow 1 did by default: bilinear, source coordinate = index · in/out, never antialiased.

    The pixel grid is anchored at the corner instead of half-pixel centres, which shifts the picture; FID was defined
    with it, and other resizing gives other numbers.
    """
    rows = _tf1_matrix(images.shape[2], height).to(images)
    columns = _tf1_matrix(images.shape[3], width).to(images)
    return rows @ images @ columns.T


def _tf1_matrix(length_in: int, length_out: int) -> Tensor:
    """The resampling of one axis as a matrix [out, in] with at most two weights in a row."""
    position = torch.arange(length_out, dtype=torch.float32) * (length_in / length_out)
    low = position.floor().long().clamp(max=length_in - 1)
    high = (low + 1).clamp(max=length_in - 1)
    share = position - low
    index = torch.arange(length_out)
    matrix = torch.zeros(length_out, length_in)
    matrix[index, low] += 1 - share
    matrix[index, high] += share
    return matrix
