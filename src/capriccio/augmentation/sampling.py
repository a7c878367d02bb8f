"""Bilinear sampling of pictures at any positions, differentiable as often as one likes.

PyTorch's ``grid_sample`` has no second derivative, which R1 needs. As a function of the picture it is linear, so its
derivative is its transpose, and the derivative of that is itself again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sample_bilinear(images: Tensor, theta: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample ``images`` [N, C, H, W] on a grid of ``size`` (height, width) that ``theta`` lays over them.

    Args:
        images: pictures; get gradients of any order.
        theta: [N, 2, 3], from positions on the grid to positions in the picture, both from −1 (the outer edge of the
            first pixel) to 1 (the outer edge of the last); x before y. Gets no gradient.
        size: height and width of the grid.

    Returns: [N, C, height, width]; outside the picture is 0.
    """
    grid = _grid(theta, size)
    if images.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling():
        result: Tensor = _Sampling.apply(images, grid)  # type: ignore[no-untyped-call]
        return result
    # The compiler gets a differentiation inside a differentiation of an autograd.Function wrong (docs/experiments.md).
    return gathered(images, grid)


def _grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the sampled positions [N, height, width, 2]: what ``affine_grid`` gives, in a third of the time."""
    height, width = size
    x = (torch.arange(width, device=theta.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=theta.device) * 2 + 1) / height - 1
    across = theta[:, None, :, 0] * x[None, :, None]
    down = theta[:, None, :, 1] * y[None, :, None] + theta[:, None, :, 2]
    return across[:, None] + down[:, :, None]


def gathered(images: Tensor, grid: Tensor) -> Tensor:
    """Sample ``images`` at ``grid`` [N, h, w, 2] by four weighted gathers: plain operations, on every backend."""
    height, width = images.shape[2:]
    x = (grid[..., 0] + 1) * (width / 2) - 0.5
    y = (grid[..., 1] + 1) * (height / 2) - 0.5
    left, top = x.floor(), y.floor()
    flat = images.flatten(2)
    total: Tensor | None = None
    for column in (left, left + 1):
        for row in (top, top + 1):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
            index = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            picked = flat.gather(2, index.flatten(1)[:, None].expand(-1, images.shape[1], -1))
            part = picked * weight.flatten(1)[:, None]
            total = part if total is None else total + part
    assert total is not None
    return total.reshape(*images.shape[:2], *grid.shape[1:3])


class _Sampling(torch.autograd.Function):
    """``grid_sample`` with its transpose as derivative; the grid is a constant."""

    @staticmethod
    def forward(images: Tensor, grid: Tensor) -> Tensor:
        """Return the sampled pictures."""
        return torch.nn.functional.grid_sample(images, grid, align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember the grid and the size; the derivative of a linear map needs no pictures."""
        images, grid = inputs
        ctx.save_for_backward(grid)
        ctx.shape = images.shape

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Apply the transpose."""
        (grid,) = ctx.saved_tensors
        return _Spreading.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _Spreading(torch.autograd.Function):
    """The transpose of sampling: every value goes to the four pixels it was sampled from."""

    @staticmethod
    def forward(values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        """Return the sums [N, C, H, W]."""
        # Only the size of the second argument, the sampled pictures, matters for their gradient.
        sampled = values.new_empty(()).expand(shape)
        bilinear, zeros, align_corners, wanted = 0, 0, False, [True, False]
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            values.contiguous(), sampled, grid, bilinear, zeros, align_corners, wanted
        )[0]
        return spread

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember the grid."""
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Apply the transpose of the transpose."""
        (grid,) = ctx.saved_tensors
        return _Sampling.apply(gradient, grid), None, None  # type: ignore[no-untyped-call]
