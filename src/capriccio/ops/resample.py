"""FIR filters, and resampling with them: zero-insert, pad, filter, keep every d-th sample.

Source: StyleGAN2, section 2 and appendix B; Zhang 2019 ("Making convolutional networks shift-invariant again").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.config import FirForm
from capriccio.ops.shifted import resample_by_shifts
from capriccio.ops.transpose import Padding, transposed_padding

SEPARABLE_TAPS = 8
"""Filters with at least this many taps stay one-dimensional and are applied once per axis."""

Pair = int | tuple[int, int]


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
    form: FirForm = "depthwise",
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
        form: how it is computed, with the same result: a depthwise convolution, shifted maps, or a Triton kernel.

    Returns: [N, C, H', W'] with H' = floor((up·H + before + after − k) / down) + 1. The filter gets no gradient.
    """
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    kernel = f if flip_filter else f.flip(list(range(f.ndim)))
    if kernel.ndim == 2:
        return _resample(x, kernel * gain, (up_x, up_y), (down_x, down_y), padding, form)
    left, right, top, bottom = padding
    x = _resample(x, kernel[None, :] * gain**0.5, (up_x, 1), (down_x, 1), (left, right, 0, 0), form)
    return _resample(x, kernel[:, None] * gain**0.5, (1, up_y), (1, down_y), (0, 0, top, bottom), form)


def upsample2d(
    x: Tensor,
    f: Tensor,
    *,
    up: int = 2,
    padding: int = 0,
    flip_filter: bool = False,
    gain: float = 1,
    form: FirForm = "depthwise",
) -> Tensor:
    """Enlarge ``x`` [N, C, H, W] ``up`` times with filter ``f``; brightness is kept. ``padding`` adds on all sides."""
    k = f.shape[-1]
    before, after = (k + up - 1) // 2 + padding, (k - up) // 2 + padding
    padding_ = (before, after) * 2
    return upfirdn2d(x, f, up=up, padding=padding_, gain=gain * up * up, flip_filter=flip_filter, form=form)


def downsample2d(
    x: Tensor,
    f: Tensor,
    *,
    down: int = 2,
    padding: int = 0,
    flip_filter: bool = False,
    gain: float = 1,
    form: FirForm = "depthwise",
) -> Tensor:
    """Reduce ``x`` [N, C, H, W] ``down`` times with filter ``f``. ``padding`` adds on all sides."""
    k = f.shape[-1]
    before, after = (k - down + 1) // 2 + padding, (k - down) // 2 + padding
    return upfirdn2d(x, f, down=down, padding=(before, after) * 2, gain=gain, flip_filter=flip_filter, form=form)


def filter2d(x: Tensor, f: Tensor, *, padding: int = 0, flip_filter: bool = False, gain: float = 1) -> Tensor:
    """Filter ``x`` [N, C, H, W] with ``f`` and keep its size. ``padding`` adds on all sides."""
    k = f.shape[-1]
    before, after = k // 2 + padding, (k - 1) // 2 + padding
    return upfirdn2d(x, f, padding=(before, after) * 2, gain=gain, flip_filter=flip_filter)


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _resample(
    x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding, form: FirForm
) -> Tensor:
    if form == "shifted":
        return resample_by_shifts(x, kernel, up, down, padding)
    if form == "triton":
        from capriccio.ops.fir_kernel import resample_by_kernel

        found: Tensor = resample_by_kernel(x, kernel, up, down, padding)
        return found
    kernel = kernel.to(x.dtype)
    if torch.compiler.is_compiling():
        # PyTorch 2.13 compiles a differentiation inside a differentiation of an autograd.Function without complaint
        # and gets a wrong result (docs/experiments.md); the plain operations compile right, and fuse.
        return _resample_traceable(x, kernel, up, down, padding)
    result: Tensor = _Resampling.apply(x, kernel, up, down, padding)  # type: ignore[no-untyped-call]
    return result


class _Resampling(torch.autograd.Function):
    """Cross-correlation between zero-insertion and decimation; the kernel [kh, kw] is a constant.

    The transpose of this linear map is a map of the same kind: up and down exchanged, the kernel turned by 180°. So
    derivatives of every order are fast forward convolutions. The generic backward of a depthwise convolution is slower,
    very slow with a stride, and its second derivative computes a gradient of the kernel, group by group.
    """

    @staticmethod
    def forward(x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding) -> Tensor:
        """Return the resampled maps; arguments as in :func:`upfirdn2d`."""
        (up_x, up_y), (down_x, down_y) = up, down
        left, right, top, bottom = padding
        if up_x > 1 or up_y > 1:
            n, c, h, w = x.shape
            sparse = torch.empty(
                (n, c, (h - 1) * up_y + 1, (w - 1) * up_x + 1),
                dtype=x.dtype, device=x.device, memory_format=torch.channels_last,
            ).zero_()  # fmt: skip
            sparse[:, :, ::up_y, ::up_x] = x
            # The zeros after the last sample are left to the padding, which is symmetric then in all usual cases.
            x, right, bottom = sparse, right + up_x - 1, bottom + up_y - 1
        return _depthwise(x, kernel, (left, right, top, bottom), stride=(down_y, down_x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember the kernel and the sizes; the derivative of a linear map needs no features."""
        x, kernel, up, down, padding = inputs
        ctx.save_for_backward(kernel)
        ctx.up, ctx.down = up, down
        ctx.padding = transposed_padding(
            (x.shape[3], x.shape[2]), (output.shape[3], output.shape[2]), (kernel.shape[1], kernel.shape[0]), up, down,
            (padding[0], padding[2]),
        )  # fmt: skip

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Apply the transpose."""
        (kernel,) = ctx.saved_tensors
        transposed = _Resampling.apply(gradient, kernel.flip((0, 1)), ctx.down, ctx.up, ctx.padding)  # type: ignore[no-untyped-call]
        return transposed, None, None, None, None


def _resample_traceable(
    x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding
) -> Tensor:
    (up_x, up_y), (down_x, down_y) = up, down
    if up_x > 1 or up_y > 1:
        n, c, h, w = x.shape
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up_x - 1, 0, 0, 0, up_y - 1)).reshape(n, c, h * up_y, w * up_x)
    x = _depthwise(x, kernel, padding)
    # Filtering every position and then slicing costs more forward, but far less backward, than a strided depthwise
    # convolution: its backward has no fast path on processors.
    return x[:, :, ::down_y, ::down_x] if down_x > 1 or down_y > 1 else x


def _depthwise(x: Tensor, kernel: Tensor, padding: Padding, stride: tuple[int, int] = (1, 1)) -> Tensor:
    channels = x.shape[1]
    left, right, top, bottom = padding
    if left == right >= 0 and top == bottom >= 0:
        conv_padding = (top, left)
    else:
        x, conv_padding = F.pad(x, padding), (0, 0)
    return F.conv2d(x, kernel.expand(channels, 1, *kernel.shape), padding=conv_padding, stride=stride, groups=channels)
