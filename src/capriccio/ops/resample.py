"""FIR filters, and resampling with them: zero-insert, pad, filter, keep every d-th sample.

Source: StyleGAN2, section 2 and appendix B; Zhang 2019 ("Making convolutional networks shift-invariant again").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SEPARABLE_TAPS = 8
"""Filters with at least this many taps stay one-dimensional and are applied once per axis."""

Pair = int | tuple[int, int]
Padding = tuple[int, int, int, int]
"""(before x, after x, before y, after y); negative values crop."""


def make_filter(taps: Sequence[float]) -> Tensor:
    """Return filter ``taps`` with unit sum: the 2-D outer product [k, k] of short filters, long ones as [k]."""
    f = torch.as_tensor(taps, dtype=torch.float32)
    if f.ndim == 1 and f.numel() < SEPARABLE_TAPS:
        f = torch.outer(f, f)
    return f / f.sum()


def upfirdn2d(
    x: Tensor,
    f: Tensor,
    *,
    up: Pair = 1,
    down: Pair = 1,
    padding: Padding = (0, 0, 0, 0),
    gain: float = 1.0,
    flip_filter: bool = False,
) -> Tensor:
    """Insert zeros, pad, filter and decimate every channel of ``x`` [N, C, H, W].

    Args:
        x: features.
        f: filter of :func:`make_filter`, [kh, kw] or [k] (separable).
        up: each sample is followed by ``up − 1`` zeros; one number, or (x, y).
        down: every ``down``-th sample is kept, starting with the first; one number, or (x, y).
        padding: zeros added on the zero-inserted grid.
        gain: factor on the result; ``up²`` keeps the brightness of an up-sampled picture.
        flip_filter: False = convolution, True = cross-correlation.

    Returns: [N, C, H', W'] with H' = floor((up·H + before + after − k) / down) + 1.
    """
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    if up_x > 1 or up_y > 1:
        x = _insert_zeros(x, up_x, up_y)
    f = (f if flip_filter else f.flip(list(range(f.ndim)))).to(x.dtype)
    if f.ndim == 2:
        x = _depthwise(x, f * gain, padding)
    else:
        left, right, top, bottom = padding
        x = _depthwise(x, f[None, :] * gain**0.5, (left, right, 0, 0))
        x = _depthwise(x, f[:, None] * gain**0.5, (0, 0, top, bottom))
    # Filtering every position and then slicing costs more forward, but far less backward, than a strided depthwise
    # convolution: its backward has no fast path on processors.
    return x[:, :, ::down_y, ::down_x] if down_x > 1 or down_y > 1 else x


def upsample2d(x: Tensor, f: Tensor, *, up: int = 2, padding: int = 0, flip_filter: bool = False, gain: float = 1) -> Tensor:
    """Enlarge ``x`` [N, C, H, W] ``up`` times with filter ``f``; brightness is kept. ``padding`` adds on all sides."""
    k = f.shape[-1]
    before, after = (k + up - 1) // 2 + padding, (k - up) // 2 + padding
    return upfirdn2d(x, f, up=up, padding=(before, after) * 2, gain=gain * up * up, flip_filter=flip_filter)


def downsample2d(x: Tensor, f: Tensor, *, down: int = 2, padding: int = 0, flip_filter: bool = False, gain: float = 1) -> Tensor:
    """Reduce ``x`` [N, C, H, W] ``down`` times with filter ``f``. ``padding`` adds on all sides."""
    k = f.shape[-1]
    before, after = (k - down + 1) // 2 + padding, (k - down) // 2 + padding
    return upfirdn2d(x, f, down=down, padding=(before, after) * 2, gain=gain, flip_filter=flip_filter)


def filter2d(x: Tensor, f: Tensor, *, padding: int = 0, flip_filter: bool = False, gain: float = 1) -> Tensor:
    """Filter ``x`` [N, C, H, W] with ``f`` and keep its size. ``padding`` adds on all sides."""
    k = f.shape[-1]
    before, after = k // 2 + padding, (k - 1) // 2 + padding
    return upfirdn2d(x, f, padding=(before, after) * 2, gain=gain, flip_filter=flip_filter)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _insert_zeros(x: Tensor, up_x: int, up_y: int) -> Tensor:
    n, c, h, w = x.shape
    x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up_x - 1, 0, 0, 0, up_y - 1))
    return x.reshape(n, c, h * up_y, w * up_x)


def _depthwise(x: Tensor, f: Tensor, padding: Padding) -> Tensor:
    channels = x.shape[1]
    left, right, top, bottom = padding
    if left == right >= 0 and top == bottom >= 0:
        conv_padding = (top, left)
    else:
        x, conv_padding = F.pad(x, padding), (0, 0)
    return F.conv2d(x, f.expand(channels, 1, *f.shape), padding=conv_padding, groups=channels)
