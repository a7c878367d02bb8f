"""Resampling as shifted maps added up: additions and products only, which a compiler fuses with their neighbours.

Zero-insertion never happens: each of the up × up phases of the result is a sum of the few taps that fall on samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.ops.transpose import Padding

_Taps = list[list[tuple[int, int]]]
"""For each phase of one axis: (index of the tap, how many samples its source lies ahead)."""


def resample_by_shifts(
    x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding
) -> Tensor:
    """Insert zeros, pad, cross-correlate with ``kernel`` [kh, kw] and decimate.

    Args:
        x: features, [N, C, H, W].
        kernel: as it is laid over the map, gain included.
        up: (x, y), each sample is followed by up − 1 zeros.
        down: (x, y), every down-th sample is kept.
        padding: zeros added on the zero-inserted grid.
    """
    (up_x, up_y), (down_x, down_y) = up, down
    left, right, top, bottom = padding
    (kernel_h, kernel_w), (h, w) = kernel.shape, x.shape[2:]
    height, width = h * up_y + top + bottom - kernel_h + 1, w * up_x + left + right - kernel_w + 1
    rows, columns = _taps(kernel_h, up_y, top), _taps(kernel_w, up_x, left)
    # A down-sampling without up-sampling computes only what is kept; both together is rare, and sliced afterwards.
    step_y, step_x = (down_y if up_y == 1 else 1), (down_x if up_x == 1 else 1)
    num_y, num_x = -(-height // (up_y * step_y)), -(-width // (up_x * step_x))
    x, first_y, first_x = _reaching(x, rows, columns, num_y * step_y, num_x * step_x)
    phases = []
    for row_taps in rows:
        for column_taps in columns:
            total = None
            for j, ahead_y in row_taps:
                for i, ahead_x in column_taps:
                    y0, x0 = ahead_y - first_y, ahead_x - first_x
                    part = x[:, :, y0 : y0 + num_y * step_y : step_y, x0 : x0 + num_x * step_x : step_x]
                    part = part * kernel[j, i].to(x.dtype)
                    total = part if total is None else total + part
            phases.append(torch.zeros_like(x[:, :, :num_y, :num_x]) if total is None else total)
    y = phases[0] if len(phases) == 1 else _interleaved(phases, up_y, up_x)
    y = y[:, :, : -(-height // step_y), : -(-width // step_x)]
    return y[:, :, :: down_y // step_y, :: down_x // step_x]


def _taps(length: int, up: int, before: int) -> _Taps:
    """Return which taps fall on samples: output up·m + phase and tap k meet sample m + (phase + k − before)/up."""
    return [
        [(k, (phase + k - before) // up) for k in range(length) if (phase + k - before) % up == 0]
        for phase in range(up)
    ]


def _reaching(x: Tensor, rows: _Taps, columns: _Taps, height: int, width: int) -> tuple[Tensor, int, int]:
    """Return the map with zeros around it as far as taps reach, and where the first tap of each axis begins."""
    ahead_y = [ahead for taps in rows for _, ahead in taps]
    ahead_x = [ahead for taps in columns for _, ahead in taps]
    first_y, last_y, first_x, last_x = min(ahead_y), max(ahead_y), min(ahead_x), max(ahead_x)
    after_y, after_x = last_y + height - x.shape[2], last_x + width - x.shape[3]
    return F.pad(x, (-first_x, after_x, -first_y, after_y)), first_y, first_x


def _interleaved(phases: list[Tensor], up_y: int, up_x: int) -> Tensor:
    """Return [N, C, up_y·H, up_x·W] of the phases [N, C, H, W], row by row."""
    n, c, h, w = phases[0].shape
    lines = [torch.stack(phases[p * up_x : (p + 1) * up_x], dim=4).reshape(n, c, h, w * up_x) for p in range(up_y)]
    return torch.stack(lines, dim=3).reshape(n, c, h * up_y, w * up_x)
