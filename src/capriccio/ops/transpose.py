"""The transpose of a resampling is a resampling: up and down exchanged, the kernel turned by 180°, other padding."""

from __future__ import annotations

import torch
from torch import Tensor

Padding = tuple[int, int, int, int]
"""(before x, after x, before y, after y) on the zero-inserted grid; negative values crop."""


def transposed_padding(
    size: tuple[int, int],
    new_size: tuple[int, int],
    taps: tuple[int, int],
    up: tuple[int, int],
    down: tuple[int, int],
    before: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Return the padding of the transpose, which is a resampling too: up and down exchanged, the kernel turned round.

    Args are pairs (x, y): size of the map, of the result, taps of the kernel, factors, and padding before.
    """
    pairs = [
        (k - 1 - b, u * old - d * new + b - u + 1)
        for k, b, u, d, old, new in zip(taps, before, up, down, size, new_size, strict=True)
    ]
    return (*pairs[0], *pairs[1])


def result_like(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    """Return a new tensor of the size that resampling ``x`` gives, channels last where ``x`` is."""
    (up_x, up_y), (down_x, down_y) = up, down
    left, right, top, bottom = padding
    n, c, h, w = x.shape
    height = (h * up_y + top + bottom - kernel.shape[0]) // down_y + 1
    width = (w * up_x + left + right - kernel.shape[1]) // down_x + 1
    last = x.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if last else torch.contiguous_format
    return torch.empty((n, c, height, width), dtype=x.dtype, device=x.device, memory_format=memory_format)
