"""Resampling by a kernel of our own on GPUs, as an operator that compilers and derivatives of every order know.

Zero-insertion, padding, filter and decimation happen in one pass over the result; nothing in between is stored. On a
processor the operator is computed by plain operations: the twin that the kernel is tested against. Needs Triton, which
comes with PyTorch for CUDA. Imported only where it is asked for: it makes PyTorch load its compiler.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.errors import ConfigError
from capriccio.ops.transpose import Padding, result_like, transposed_padding


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def resample_by_kernel(
    x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding
) -> Tensor:
    """Insert zeros, pad, cross-correlate with ``kernel`` and decimate; arguments as those of
    :func:`~capriccio.ops.shifted.resample_by_shifts`.
    """
    # Kept whole in graphs: looked into, a derivative inside a derivative would be compiled wrongly (ops/resample.py).
    result: Tensor = _Differentiable.apply(x, kernel, up, down, padding)  # type: ignore[no-untyped-call]
    return result


def plain_resample(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    """Compute the operator by plain operations: insert zeros, pad, convolve depthwise, slice."""
    (up_x, up_y), (down_x, down_y) = up, down
    n, c, h, w = x.shape
    sparse = x.new_zeros((n, c, h * up_y, w * up_x))
    sparse[:, :, ::up_y, ::up_x] = x
    weight = kernel.to(x.dtype).expand(c, 1, *kernel.shape)
    y = F.conv2d(F.pad(sparse, padding), weight, groups=c)[:, :, ::down_y, ::down_x]
    return result_like(x, kernel, up, down, padding).copy_(y)


@torch.library.custom_op("capriccio::resample", mutates_args=())
def operator(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    """The operator itself, without derivatives: plain on processors."""
    return plain_resample(x, kernel, up, down, padding)


@operator.register_kernel("cuda")
def _on_gpu(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    try:
        from capriccio.ops.fir_triton import launch
    except ImportError as error:
        raise ConfigError("forms.fir: 'triton' needs Triton, which is not installed; take another form.") from error
    return launch(x, kernel, up, down, padding)


@operator.register_fake
def _shape(x: Tensor, kernel: Tensor, up: list[int], down: list[int], padding: list[int]) -> Tensor:
    return result_like(x, kernel, up, down, padding)


class _Differentiable(torch.autograd.Function):
    """The operator with its derivative, which is the same operator transposed."""

    @staticmethod
    def forward(x: Tensor, kernel: Tensor, up: tuple[int, int], down: tuple[int, int], padding: Padding) -> Tensor:
        """Return the resampled maps."""
        result: Tensor = operator(x, kernel, list(up), list(down), list(padding))
        return result

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
        turned = kernel.flip((0, 1))
        transposed = _Differentiable.apply(gradient, turned, ctx.down, ctx.up, ctx.padding)  # type: ignore[no-untyped-call]
        return transposed, None, None, None, None
