"""The geometric part: one matrix per picture, margins for the whole batch, one resampling with little aliasing.

A picture is continued beyond its edges by reflection, enlarged ×2, sampled bilinearly where the matrix says, and
reduced ×2. The filters of both steps are mirror images of each other, so that the identity nearly reproduces a picture.

Source: the ADA paper, appendix B and algorithm 1.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from capriccio.augmentation.parameters import GeometryParameters
from capriccio.augmentation.sampling import sample_bilinear
from capriccio.ops.resample import downsample2d, make_filter, upsample2d

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""The low-pass filter of the wavelet Symlet 6 (Daubechies 1992)."""

_REACH = len(SYM6) // 4
"""P: pixels that the filter sees on each side, at the size of the picture."""


class Margins(NamedTuple):
    """Pixels by which pictures are continued beyond their edges."""

    left: int
    top: int
    right: int
    bottom: int


class Geometry(NamedTuple):
    """What resampling needs, as tensors of sizes that the margins decide."""

    columns: Tensor
    """[w] int64: which column of the picture stands in each column of the continued one."""
    rows: Tensor
    """[h] int64"""
    inside: tuple[Tensor, Tensor] | None
    """[1, 1, h, w] and [1, 1, 2h, 2w]: 1 where the continued, and the enlarged, picture ends, else 0. None = it ends at
    its edges."""
    theta: Tensor
    """[N, 2, 3]: from the sampled grid to the enlarged picture, as :func:`sample_bilinear` has it."""


def inverse_matrices(given: GeometryParameters, height: int, width: int) -> Tensor:
    """Return M [N, 3, 3], from positions in the result to positions in the picture, in pixels from the centre."""
    one, zero = torch.ones_like(given.scale), torch.zeros_like(given.scale)

    def matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return torch.stack([torch.stack(row, dim=1) for row in (*rows, (zero, zero, one))], dim=1)

    def scaling(x: Tensor, y: Tensor) -> Tensor:
        return matrix((x, zero, zero), (zero, y, zero))

    def moving(x: Tensor, y: Tensor) -> Tensor:
        return matrix((one, zero, x), (zero, one, y))

    def turning(angle: Tensor) -> Tensor:
        cos, sin = angle.cos(), angle.sin()
        return matrix((cos, -sin, zero), (sin, cos, zero))

    steps = [
        scaling(1 - 2 * given.xflip, one),
        turning(given.quarter_turns * (math.pi / 2)),
        moving(-given.shift_px[:, 0], -given.shift_px[:, 1]),
        scaling(1 / given.scale, 1 / given.scale),
        turning(given.rotate_before),
        scaling(1 / given.aniso, given.aniso),
        turning(given.rotate_after),
        moving(-given.shift[:, 0] * width, -given.shift[:, 1] * height),
    ]
    product = steps[0]
    for step in steps[1:]:
        product = product @ step
    return product


def batch_margins(matrices: Tensor, height: int, width: int) -> Margins:
    """Return the margins that all pictures of a batch need together; never more than a picture can be reflected."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-cx, -cy, 1], [cx, -cy, 1], [cx, cy, 1], [-cx, cy, 1]]).T
    reached = (matrices @ corners)[:, :2]
    x, y = reached[:, 0], reached[:, 1]
    furthest = torch.stack([-x.min(), -y.min(), x.max(), y.max()])
    furthest = furthest + torch.tensor([2 * _REACH - cx, 2 * _REACH - cy] * 2)
    largest = torch.tensor([width - 1, height - 1] * 2, dtype=torch.float32)
    left, top, right, bottom = furthest.clamp(min=0).minimum(largest).ceil().int().tolist()
    return Margins(left, top, right, bottom)


def plan_geometry(matrices: Tensor, margins: Margins, height: int, width: int, *, fixed_shape: bool) -> Geometry:
    """Return what :func:`resample` needs.

    Args:
        matrices: M [N, 3, 3] of the pictures.
        margins: those of the whole batch, of which these pictures may be a part.
        height: of the pictures.
        width: of the pictures.
        fixed_shape: give tensors the same sizes whatever the margins are, by continuing pictures as far as possible and
            blanking what lies beyond the margins; the numbers stay the same. For compiled phases.
    """
    room = Margins(width - 1, height - 1, width - 1, height - 1) if fixed_shape else margins
    columns, x_inside = _continued(width, (room.left, room.right), (margins.left, margins.right))
    rows, y_inside = _continued(height, (room.top, room.bottom), (margins.top, margins.bottom))
    inside = None
    if fixed_shape:
        enlarged = (y_inside.repeat_interleave(2), x_inside.repeat_interleave(2))
        inside = (torch.outer(y_inside, x_inside)[None, None], torch.outer(*enlarged)[None, None])

    def moving(x: float, y: float) -> Tensor:
        return torch.tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], dtype=torch.float32)

    def scaling(x: float, y: float) -> Tensor:
        return torch.diag(torch.tensor([x, y, 1], dtype=torch.float32))

    m = moving((room.left - room.right) / 2, (room.top - room.bottom) / 2) @ matrices
    m = scaling(2, 2) @ m @ scaling(0.5, 0.5)
    m = moving(-0.5, -0.5) @ m @ moving(0.5, 0.5)
    grid_height, grid_width = _grid_size(height, width)
    theta = scaling(1 / len(columns), 1 / len(rows)) @ m @ scaling(grid_width / 2, grid_height / 2)
    return Geometry(columns, rows, inside, theta[:, :2].contiguous())


def resample(images: Tensor, plan: Geometry) -> Tensor:
    """Resample ``images`` [N, C, H, W] as planned; the result has their shape."""
    height, width = images.shape[2:]
    kernel = _sym6(images.device)
    continued = images.contiguous().index_select(3, plan.columns).index_select(2, plan.rows)
    if plan.inside is None:
        enlarged = upsample2d(continued, kernel)
    else:
        enlarged = upsample2d(continued * plan.inside[0], kernel) * plan.inside[1]
    sampled = sample_bilinear(enlarged, plan.theta, _grid_size(height, width))
    return downsample2d(sampled, kernel, padding=-2 * _REACH, flip_filter=True)


def _grid_size(height: int, width: int) -> tuple[int, int]:
    return 2 * (height + 2 * _REACH), 2 * (width + 2 * _REACH)


def _continued(size: int, room: tuple[int, int], margins: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return for one axis the reflected indices [n] within ``room``, and 1 within ``margins``, else 0 [n]."""
    positions = torch.arange(-room[0], size + room[1])
    reflected = (size - 1) - (positions.abs() - (size - 1)).abs()
    inside = (positions >= -margins[0]) & (positions < size + margins[1])
    return reflected, inside.float()


@cache
def _sym6(device: torch.device) -> Tensor:
    return make_filter(SYM6).to(device)
