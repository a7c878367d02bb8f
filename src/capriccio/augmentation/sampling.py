"""Bilinear sampling of pictures at any positions, differentiable as often as one likes.

PyTorch's ``grid_sample`` has no second derivative, which R1 needs. As a function of the picture it is linear, so its
derivative is its transpose, and the derivative of that is itself again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sample_bilinear(images: Tensor, theta: Tensor, size: tuple[int, int], windows: Tensor | None = None) -> Tensor:
    """Sample ``images`` [N, C, H, W] on a grid of ``size`` (height, width) that ``theta`` lays over them.

    Args:
        images: pictures; get gradients of any order.
        theta: [N, 2, 3], from positions on the grid to positions in the picture, both from −1 (the outer edge of the
            first pixel) to 1 (the outer edge of the last); x before y. Gets no gradient.
        size: height and width of the grid.
        windows: [2, 2], for x and y the first sample and the one after the last, where pictures repeat themselves
            endlessly; None = they are there once.

    Returns: [N, C, height, width]; outside the picture, or the windows, is 0.
    """
    grid = _grid(theta, size)
    if windows is None and images.device.type in ("cpu", "cuda") and not torch.compiler.is_compiling():
        result: Tensor = _Sampling.apply(images, grid)  # type: ignore[no-untyped-call]
        return result
    # `grid_sample` knows no windows, and the compiler gets a differentiation inside a differentiation of an
    # autograd.Function wrong (docs/experiments.md).
    return gathered(images, grid, windows)


def _grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the sampled positions [N, height, width, 2]: what ``affine_grid`` gives, in a third of the time."""
    height, width = size
    x = (torch.arange(width, device=theta.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=theta.device) * 2 + 1) / height - 1
    across = theta[:, None, :, 0] * x[None, :, None]
    down = theta[:, None, :, 1] * y[None, :, None] + theta[:, None, :, 2]
    return across[:, None] + down[:, :, None]


def gathered(images: Tensor, grid: Tensor, windows: Tensor | None = None) -> Tensor:
    """Sample ``images`` at ``grid`` [N, h, w, 2] by a weighted gather: plain operations, on every backend.

    All four neighbours are fetched by one gather, so that its derivative fills one tensor.
    """
    count, channels, height, width = images.shape
    columns, across = _neighbours(grid[..., 0], width, None if windows is None else windows[0])
    rows, down = _neighbours(grid[..., 1], height, None if windows is None else windows[1])
    index = rows[..., :, None] * width + columns[..., None, :]
    weight = down[..., :, None] * across[..., None, :]
    picked = images.flatten(2).gather(2, index.reshape(count, 1, -1).expand(-1, channels, -1))
    parts = picked.reshape(count, channels, *grid.shape[1:3], 4) * weight.reshape(count, 1, *grid.shape[1:3], 4)
    return parts.sum(dim=-1)


def _neighbours(positions: Tensor, size: int, window: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return for each of ``positions`` (−1…1) along an axis its two neighbours, modulo ``size``, and their weights.

    Weights are 0 outside of ``window``, or of the axis without one. Both results have a last dimension of 2.
    """
    x = ((positions + 1) * (size / 2) - 0.5)[..., None]
    both = x.floor() + torch.arange(2, device=x.device)
    first, end = (0, size) if window is None else window.unbind()
    weight = (1 - (x - both).abs()) * ((both >= first) & (both < end))
    return both.remainder(size).long(), weight


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
