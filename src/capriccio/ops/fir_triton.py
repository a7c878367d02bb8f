"""The Triton kernel of :mod:`capriccio.ops.fir_kernel`; imported only where it runs.

Each program makes tiles of a few rows and columns, of some channels of several pictures, and keeps their sums in
registers: a sample is loaded and converted once for all the results it counts in. A kernel that loads every sample for
every result is limited by its instructions, not by the memory (docs/gpu.md). Channels are innermost, so that maps that
lie channels last are read and written in whole lines; sums are float32 whatever the maps are.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl
from torch import Tensor

from capriccio.ops.transpose import result_like

_ROWS, _COLUMNS = 4, 2
"""Size of a tile; more rows need a little less work, and much longer to compile."""
_TILES, _CHANNELS = 16, 64
"""Tiles and channels of one program; a map of fewer channels gets more tiles."""


@triton.jit(do_not_specialize=["tiles", "height", "width", "out_height", "out_width", "left", "top"])
@no_type_check
def _resample(
    x, kernel, y, tiles, channels, height, width, out_height, out_width,
    x_n, x_c, x_h, x_w, y_n, y_c, y_h, y_w, left, top,
    UP_X: tl.constexpr, UP_Y: tl.constexpr, DOWN_X: tl.constexpr, DOWN_Y: tl.constexpr,
    TAPS_X: tl.constexpr, TAPS_Y: tl.constexpr, PHASE_X: tl.constexpr, PHASE_Y: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, TILES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Walk over the grid below each tile, row by row; add each sample to the results it counts in."""
    tile = tl.program_id(0) * TILES + tl.arange(0, TILES)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    row = tl.program_id(2) * ROWS
    tiles_across = tl.cdiv(out_width, COLUMNS)
    column = (tile % tiles_across) * COLUMNS
    n = (tile // tiles_across).to(tl.int64)
    is_here = (tile < tiles)[:, None] & (c < channels)[None, :]
    source = x + (n * x_n)[:, None] + c[None, :] * x_c
    target = y + (n * y_n + column * y_w)[:, None] + c[None, :] * y_c
    # The first sample of the zero-inserted grid that counts. Tiles begin at multiples of UP, so which steps from here
    # fall on samples, and which on zeros between them, is known when this is compiled.
    grid_x, grid_y = column * DOWN_X - left, row * DOWN_Y - top
    weights = ()
    for tap in tl.static_range(TAPS_Y * TAPS_X):
        weights = weights + (tl.load(kernel + tap),)
    sums = ()
    for step_y in tl.static_range((ROWS - 1) * DOWN_Y + TAPS_Y):
        if step_y % DOWN_Y == 0 and step_y // DOWN_Y < ROWS:
            for _ in tl.static_range(COLUMNS):
                sums = sums + (tl.zeros((TILES, CHANNELS), dtype=tl.float32),)
        if (step_y + PHASE_Y) % UP_Y == 0:
            on_y = (grid_y + step_y >= 0) & (grid_y + step_y < height * UP_Y)
            for step_x in tl.static_range((COLUMNS - 1) * DOWN_X + TAPS_X):
                if (step_x + PHASE_X) % UP_X == 0:
                    on = on_y & (grid_x + step_x >= 0) & (grid_x + step_x < width * UP_X)
                    at = (grid_y + step_y) // UP_Y * x_h + (grid_x + step_x) // UP_X * x_w
                    sample = tl.load(source + at[:, None], mask=on[:, None] & is_here, other=0.0).to(tl.float32)
                    added = ()
                    for i in tl.static_range(len(sums)):
                        # Result i stands i // COLUMNS rows and i % COLUMNS columns from the corner. Written out: a
                        # name would turn these numbers into tensors, which cannot choose a tap.
                        if (
                            step_y - i // COLUMNS * DOWN_Y < TAPS_Y
                            and step_x - i % COLUMNS * DOWN_X < TAPS_X
                            and step_x - i % COLUMNS * DOWN_X >= 0
                        ):
                            weight = weights[(step_y - i // COLUMNS * DOWN_Y) * TAPS_X + step_x - i % COLUMNS * DOWN_X]
                            added = added + (sums[i] + sample * weight,)
                        else:
                            added = added + (sums[i],)
                    sums = added
        if step_y >= TAPS_Y - 1 and (step_y - TAPS_Y + 1) % DOWN_Y == 0:
            for i in tl.static_range(COLUMNS):
                at = row + (step_y - TAPS_Y + 1) // DOWN_Y
                on = (at < out_height) & (column + i < out_width)
                total = sums[(step_y - TAPS_Y + 1) // DOWN_Y * COLUMNS + i].to(y.dtype.element_ty)
                tl.store(target + at * y_h + i * y_w, total, mask=on[:, None] & is_here)


def launch(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    """Compute the operator; arguments as those of :func:`~capriccio.ops.fir_kernel.plain_resample`."""
    y = result_like(x, kernel, up, down, padding)
    n, channels, out_height, out_width = y.shape
    rows, columns = _multiple(_ROWS, up[1]), _multiple(_COLUMNS, up[0])
    block = min(_CHANNELS, triton.next_power_of_2(channels))
    num_tiles = _TILES * _CHANNELS // block
    tiles = n * triton.cdiv(out_width, columns)
    grid = (triton.cdiv(tiles, num_tiles), triton.cdiv(channels, block), triton.cdiv(out_height, rows))
    _resample[grid](
        x, kernel.float().contiguous(), y, tiles, channels, x.shape[2], x.shape[3], out_height, out_width,
        *x.stride(), *y.stride(), padding[0], padding[2],
        UP_X=up[0], UP_Y=up[1], DOWN_X=down[0], DOWN_Y=down[1], TAPS_X=kernel.shape[1], TAPS_Y=kernel.shape[0],
        PHASE_X=-padding[0] % up[0], PHASE_Y=-padding[2] % up[1],
        ROWS=rows, COLUMNS=columns, TILES=num_tiles, CHANNELS=block,
    )  # fmt: skip
    return y


def _multiple(size: int, of: int) -> int:
    """Return the smallest multiple of ``of`` that is not less than ``size``."""
    return -(-size // of) * of
