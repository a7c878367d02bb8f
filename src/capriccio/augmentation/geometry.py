"""The geometric part: one matrix per picture, margins for the whole batch, one resampling with little aliasing.

A picture is continued beyond its edges by reflection, enlarged ×2, sampled bilinearly where the matrix says, and
reduced ×2. The filters of both steps are mirror images of each other, so that the identity nearly reproduces a picture.

Source: the ADA paper, appendix B and algorithm 1.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from capriccio.augmentation.parameters import GeometryParameters
from capriccio.augmentation.sampling import sample_bilinear
from capriccio.config import FirForm
from capriccio.ops.resample import make_filter, upfirdn2d

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


class Enlargement(NamedTuple):
    """How one axis of size S is continued and enlarged."""

    source: Tensor
    """[n] int64: which pixel of the picture stands at each position of the continued one."""
    inside: Tensor | None
    """[n], 1 within the margins, else 0; None = the continued picture ends where they end."""
    doubling: Tensor | None
    """The enlargement of the continued axis as a matrix [2n, n]; None for large pictures, which are filtered."""


class Geometry(NamedTuple):
    """What resampling needs, as tensors of sizes that the margins decide."""

    x: Enlargement
    y: Enlargement
    theta: Tensor
    """[N, 2, 3]: from the sampled grid to the enlarged picture, as :func:`sample_bilinear` has it."""
    reductions: tuple[Tensor | None, Tensor | None]
    """For x and y: the reduction ×2 as a matrix [S, 2(S + 2P)]; None for large pictures, which are filtered."""
    taps: Tensor
    """[12], the filter."""


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


def plan_geometry(
    matrices: Tensor,
    margins: Margins,
    height: int,
    width: int,
    *,
    fixed_shape: bool,
    device: torch.device | str = "cpu",
) -> Geometry:
    """Return what :func:`resample` needs.

    Args:
        matrices: M [N, 3, 3] of the pictures.
        margins: those of the whole batch, of which these pictures may be a part.
        height: of the pictures.
        width: of the pictures.
        fixed_shape: give tensors the same sizes whatever the margins are, by continuing pictures as far as possible and
            blanking what lies beyond the margins; the numbers stay the same. For compiled phases.
        device: where what is the same for every batch is kept; the rest is on the CPU.
    """
    device = torch.device(device)
    room = Margins(width - 1, height - 1, width - 1, height - 1) if fixed_shape else margins
    x = _enlargement(width, (room.left, room.right), width <= LARGEST_MATRIX, device)
    y = _enlargement(height, (room.top, room.bottom), height <= LARGEST_MATRIX, device)
    if fixed_shape:
        x = x._replace(inside=_inside(width, (room.left, room.right), (margins.left, margins.right)))
        y = y._replace(inside=_inside(height, (room.top, room.bottom), (margins.top, margins.bottom)))
    continued_width, continued_height = width + room.left + room.right, height + room.top + room.bottom

    def moving(right: float, down: float) -> Tensor:
        return torch.tensor([[1, 0, right], [0, 1, down], [0, 0, 1]], dtype=torch.float32)

    def scaling(across: float, along: float) -> Tensor:
        return torch.diag(torch.tensor([across, along, 1], dtype=torch.float32))

    m = moving((room.left - room.right) / 2, (room.top - room.bottom) / 2) @ matrices
    m = scaling(2, 2) @ m @ scaling(0.5, 0.5)
    m = moving(-0.5, -0.5) @ m @ moving(0.5, 0.5)
    grid_height, grid_width = _grid_size(height, width)
    theta = scaling(1 / continued_width, 1 / continued_height) @ m @ scaling(grid_width / 2, grid_height / 2)
    reductions = tuple(_reduction(size, device) if size <= LARGEST_MATRIX else None for size in (width, height))
    return Geometry(x, y, theta[:, :2].contiguous(), (reductions[0], reductions[1]), _taps(device))


def resample(images: Tensor, plan: Geometry, fir: FirForm = "depthwise") -> Tensor:
    """Resample ``images`` [N, C, H, W] as planned; the result has their shape. ``fir``: how large ones are filtered."""
    height, width = images.shape[2:]
    enlarged = _enlarge(_enlarge(images.contiguous(), plan.x, plan.taps, 3, fir), plan.y, plan.taps, 2, fir)
    sampled = sample_bilinear(enlarged, plan.theta, _grid_size(height, width))
    return _reduce(_reduce(sampled, plan.reductions[0], plan.taps, 3, fir), plan.reductions[1], plan.taps, 2, fir)


def _grid_size(height: int, width: int) -> tuple[int, int]:
    return 2 * (height + 2 * _REACH), 2 * (width + 2 * _REACH)


# ---- along one axis; dim 3 is x, dim 2 is y

LARGEST_MATRIX = 256
"""Largest side whose resampling is a product with a matrix: far faster than filtering where pictures are small, while
its work grows with the cube of the side."""


@lru_cache(maxsize=64)
def _enlargement(size: int, room: tuple[int, int], by_matrix: bool, device: torch.device) -> Enlargement:
    """Plan to continue an axis by ``room`` on both sides, and to enlarge it."""
    positions = torch.arange(-room[0], size + room[1])
    reflected = (size - 1) - (positions.abs() - (size - 1)).abs()
    doubling = None
    if by_matrix:
        # Of a band matrix a part is right, too: that of the longest axis is made once.
        doubling = _doubling(3 * size - 2)[: 2 * len(positions), : len(positions)].to(device)
    return Enlargement(reflected.to(device), None, doubling)


def _inside(size: int, room: tuple[int, int], margins: tuple[int, int]) -> Tensor:
    """Return [n]: 1 at the positions of an axis continued by ``room`` that lie within ``margins``, else 0."""
    inside = torch.zeros(room[0] + size + room[1])
    inside[room[0] - margins[0] : room[0] + size + margins[1]] = 1
    return inside


def _enlarge(images: Tensor, plan: Enlargement, taps: Tensor, dim: int, fir: FirForm = "depthwise") -> Tensor:
    """Continue and enlarge ``images`` [N, C, H, W] along one axis."""
    if plan.doubling is not None:
        matrix = _continued_and_doubled(plan, plan.doubling, images.shape[dim])
        return images @ matrix.T if dim == 3 else matrix @ images
    images = images.index_select(dim, plan.source)
    if plan.inside is not None:
        images = images * _lying_along(plan.inside, dim)
    before, after = len(SYM6) // 2, len(SYM6) // 2 - 1
    padding = (before, after, 0, 0) if dim == 3 else (0, 0, before, after)
    enlarged = upfirdn2d(images, _lying_along(taps, dim), up=_factor(dim), padding=padding, gain=2, form=fir)
    return enlarged if plan.inside is None else enlarged * _lying_along(plan.inside.repeat_interleave(2), dim)


def _continued_and_doubled(plan: Enlargement, doubling: Tensor, size: int) -> Tensor:
    """Return both steps as one matrix [2n, size]."""
    columns = doubling if plan.inside is None else doubling * plan.inside
    # The matrix of continuing has a single 1 in each row: its product is a sum of columns, far less than a product.
    matrix = torch.index_add(columns.new_zeros(len(columns), size), 1, plan.source, columns)
    return matrix if plan.inside is None else matrix * plan.inside.repeat_interleave(2)[:, None]


def _reduce(images: Tensor, matrix: Tensor | None, taps: Tensor, dim: int, fir: FirForm = "depthwise") -> Tensor:
    """Reduce ``images`` [N, C, H, W], continued by P pixels of the result on each side, along one axis."""
    if matrix is not None:
        return images @ matrix.T if dim == 3 else matrix @ images
    sides = (-1, -1)  # of the 5 zeros usual on each side, and the 2P = 6 samples too many, remains this
    padding = (*sides, 0, 0) if dim == 3 else (0, 0, *sides)
    kernel = _lying_along(taps, dim)
    return upfirdn2d(images, kernel, down=_factor(dim), padding=padding, flip_filter=True, form=fir)


@cache
def _doubling(size: int) -> Tensor:
    """Return the enlargement of an axis of ``size`` pixels, already continued, as a matrix [2·size, size]."""
    steps = Enlargement(torch.arange(size), None, None)
    return _enlarge(torch.eye(size)[None, None], steps, make_filter(SYM6), 3)[0, 0].T.contiguous()


@cache
def _reduction(size: int, device: torch.device) -> Tensor:
    """Return the reduction of an axis of ``size`` pixels as a matrix [size, 2(size + 2P)]."""
    basis = torch.eye(2 * (size + 2 * _REACH))[None, None]
    return _reduce(basis, None, make_filter(SYM6), 3)[0, 0].T.contiguous().to(device)


@cache
def _taps(device: torch.device) -> Tensor:
    return make_filter(SYM6).to(device)


def _lying_along(values: Tensor, dim: int) -> Tensor:
    return values[None, :] if dim == 3 else values[:, None]


def _factor(dim: int) -> tuple[int, int]:
    return (2, 1) if dim == 3 else (1, 2)
