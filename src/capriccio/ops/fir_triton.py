"""The Triton kernel of :mod:`capriccio.ops.fir_kernel`; imported only where it runs.

Each program makes some pixels of some channels. Channels are innermost, so that maps that lie channels last are read
and written in whole lines; sums are float32 whatever the maps are.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from capriccio.ops.transpose import result_like

_PIXELS, _CHANNELS = 32, 64
"""Pixels and channels of one program; a map of fewer channels gets more pixels."""


@triton.jit  # type: ignore[untyped-decorator]
def _resample(  # type: ignore[no-untyped-def]
    x, kernel, y, pixels, channels, height, width, out_height, out_width,
    x_n, x_c, x_h, x_w, y_n, y_c, y_h, y_w, left, top,
    UP_X: tl.constexpr, UP_Y: tl.constexpr, DOWN_X: tl.constexpr, DOWN_Y: tl.constexpr,
    TAPS_X: tl.constexpr, TAPS_Y: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One block of the result: for every tap the sample it falls on, where it falls on one."""
    p = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    column, row = p % out_width, (p // out_width) % out_height
    n = (p // (out_width * out_height)).to(tl.int64)
    is_pixel, is_channel = p < pixels, c < channels
    total = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    for tap_y in tl.static_range(TAPS_Y):
        grid_y = row * DOWN_Y + tap_y - top
        on_y = (grid_y >= 0) & (grid_y < height * UP_Y) & (grid_y % UP_Y == 0)
        for tap_x in tl.static_range(TAPS_X):
            grid_x = column * DOWN_X + tap_x - left
            on_x = (grid_x >= 0) & (grid_x < width * UP_X) & (grid_x % UP_X == 0)
            at = x + n * x_n + (grid_y // UP_Y) * x_h + (grid_x // UP_X) * x_w
            on = (is_pixel & on_y & on_x)[:, None] & is_channel[None, :]
            sample = tl.load(at[:, None] + c[None, :] * x_c, mask=on, other=0.0)
            total += sample.to(tl.float32) * tl.load(kernel + tap_y * TAPS_X + tap_x)
    to = y + n * y_n + row * y_h + column * y_w
    tl.store(to[:, None] + c[None, :] * y_c, total.to(y.dtype.element_ty), mask=is_pixel[:, None] & is_channel[None, :])


def launch(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    """Compute the operator; arguments as those of :func:`~capriccio.ops.fir_kernel.plain_resample`."""
    y = result_like(x, kernel, up, down, padding)
    n, channels, out_height, out_width = y.shape
    pixels = n * out_height * out_width
    block = min(_CHANNELS, triton.next_power_of_2(channels))
    num_pixels = _PIXELS * _CHANNELS // block
    grid = (triton.cdiv(pixels, num_pixels), triton.cdiv(channels, block))
    _resample[grid](
        x, kernel.float().contiguous(), y, pixels, channels, x.shape[2], x.shape[3], out_height, out_width,
        *x.stride(), *y.stride(), padding[0], padding[2],
        UP_X=up[0], UP_Y=up[1], DOWN_X=down[0], DOWN_Y=down[1], TAPS_X=kernel.shape[1], TAPS_Y=kernel.shape[0],
        PIXELS=num_pixels, CHANNELS=block,
    )  # fmt: skip
    return y
