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
    """How one axis of S pixels is continued to n and enlarged: by a matrix, or large pictures by a filter."""

    matrix: Tensor | None
    """[2n, S], both steps."""
    source: Tensor | None
    """[n]: which pixel of the picture stands at each position of the continued one, and beyond its ends at those that
    only the filter sees, where the picture repeats itself."""


class Geometry(NamedTuple):
    """What resampling needs, as tensors of sizes that the margins decide."""

    x: Enlargement
    y: Enlargement
    theta: Tensor
    """[N, 2, 3]: from the sampled grid to the enlarged picture, as :func:`sample_bilinear` has it."""
    windows: Tensor | None
    """[2, 2]: for x and y the first sample within the margins and the one after the last, of a picture that repeats
    itself; None = it is there once."""
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
        fixed_shape: give tensors the same sizes whatever the margins are. A picture that is reflected again and again
            repeats itself after 2(S − 1) pixels; so that much is enlarged, and sampled modulo its length within the
            margins. For compiled and recorded phases. The numbers stay the same but for 3 pixels along margins that
            would have to be wider than a picture can be reflected, beyond which it is black.
        device: where what is the same for every batch is kept; the rest is on the CPU.
    """
    device = torch.device(device)
    room = Margins(0, 0, _period(width) - width, _period(height) - height) if fixed_shape else margins
    x = _enlargement(width, (room.left, room.right), fixed_shape, width <= LARGEST_MATRIX, device)
    y = _enlargement(height, (room.top, room.bottom), fixed_shape, height <= LARGEST_MATRIX, device)
    windows = None
    if fixed_shape:
        reached = [(-margins.left, width + margins.right), (-margins.top, height + margins.bottom)]
        windows = 2 * torch.tensor(reached, dtype=torch.float32)
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
    return Geometry(x, y, theta[:, :2].contiguous(), windows, (reductions[0], reductions[1]), _taps(device))


def resample(images: Tensor, plan: Geometry, fir: FirForm = "depthwise") -> Tensor:
    """Resample ``images`` [N, C, H, W] as planned; the result has their shape. ``fir``: how large ones are filtered."""
    height, width = images.shape[2:]
    beyond = 0 if plan.windows is None else _REACH
    wide = _enlarge(images.contiguous(), plan.x, plan.taps, 3, fir, beyond=beyond)
    enlarged = _enlarge(wide, plan.y, plan.taps, 2, fir, beyond=beyond)
    sampled = sample_bilinear(enlarged, plan.theta, _grid_size(height, width), plan.windows)
    return _reduce(_reduce(sampled, plan.reductions[0], plan.taps, 3, fir), plan.reductions[1], plan.taps, 2, fir)


def _grid_size(height: int, width: int) -> tuple[int, int]:
    return 2 * (height + 2 * _REACH), 2 * (width + 2 * _REACH)


# ---- along one axis; dim 3 is x, dim 2 is y

LARGEST_MATRIX = 256
"""Largest side whose resampling is a product with a matrix: far faster than filtering where pictures are small, while
its work grows with the cube of the side."""


def _period(size: int) -> int:
    """Return after how many pixels an axis repeats itself that is reflected at both ends again and again."""
    return 2 * (size - 1)


@lru_cache(maxsize=8)  # margins hardly ever come twice; what is the same for every batch does
def _enlargement(
    size: int, room: tuple[int, int], is_period: bool, by_matrix: bool, device: torch.device
) -> Enlargement:
    """Plan to continue an axis by ``room`` on both sides, and to enlarge it."""
    beyond = _REACH if is_period else 0
    positions = torch.arange(-room[0] - beyond, size + room[1] + beyond)
    reflected = (size - 1) - (positions % _period(size) - (size - 1)).abs()
    if not by_matrix:
        return Enlargement(None, reflected.to(device))
    doubled = _doubling(3 * size + 2 * _REACH)[: 2 * len(positions), : len(positions)]  # part of a band matrix
    doubled = doubled[2 * beyond : len(doubled) - 2 * beyond]
    # The matrix of continuing has a single 1 in each row: its product is a sum of columns, far less than a product.
    matrix = torch.index_add(doubled.new_zeros(len(doubled), size), 1, reflected, doubled)
    return Enlargement(matrix.to(device), None)


def _enlarge(
    images: Tensor, plan: Enlargement, taps: Tensor, dim: int, fir: FirForm = "depthwise", *, beyond: int = 0
) -> Tensor:
    """Continue and enlarge ``images`` [N, C, H, W] along one axis; ``beyond``: positions that only the filter sees."""
    if plan.matrix is not None:
        return images @ plan.matrix.T if dim == 3 else plan.matrix @ images
    assert plan.source is not None
    before, after = len(SYM6) // 2 - 2 * beyond, len(SYM6) // 2 - 1 - 2 * beyond
    padding = (before, after, 0, 0) if dim == 3 else (0, 0, before, after)
    continued = images.index_select(dim, plan.source)
    return upfirdn2d(continued, _lying_along(taps, dim), up=_factor(dim), padding=padding, gain=2, form=fir)


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
    """Return the enlargement of an axis of ``size`` pixels, as it is, as a matrix [2·size, size]."""
    steps = Enlargement(None, torch.arange(size))
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
