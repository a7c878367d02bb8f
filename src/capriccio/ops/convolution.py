"""Convolution whose derivatives of every order are convolutions of the usual kinds.

Convolution, its gradient for the input and its gradient for the weight are each linear in two arguments, and the
derivatives of any of the three are the other two. PyTorch's own second derivative gets the weight's part by a
convolution whose kernel is as large as a feature map: on a GPU a single such call took a tenth of an iteration
(docs/experiments.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class _Kind(NamedTuple):
    """What is convolved how."""

    stride: int
    padding: int
    transposed: bool
    output_padding: tuple[int, int] = (0, 0)

    def turned(self, output_padding: tuple[int, int] = (0, 0)) -> _Kind:
        """The kind that leads back from results to inputs, with the same weight."""
        return self._replace(transposed=not self.transposed, output_padding=output_padding)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0) -> Tensor:
    """Return what :func:`torch.nn.functional.conv2d` does, [N, I, H, W] and [O, I, k, k] → [N, O, H', W']."""
    if not _is_ours(x):
        return F.conv2d(x, weight, bias, stride=stride, padding=padding)
    y: Tensor = _whole(x, weight, bias, stride, padding, False)
    return y


def conv_transpose2d(x: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    """Return what :func:`torch.nn.functional.conv_transpose2d` does, [N, I, H, W] and [I, O, k, k] → [N, O, H', W']."""
    if not _is_ours(x):
        return F.conv_transpose2d(x, weight, stride=stride, padding=padding)
    y: Tensor = _whole(x, weight, None, stride, padding, True)
    return y


def _is_ours(x: Tensor) -> bool:
    if not torch.is_grad_enabled():
        return False
    if x.device.type == "cuda":
        return True
    # On processors the library's own derivatives are faster; but of its second derivatives in bf16 some end the
    # process: its kernels for some processors divide by zero where the kernel of a convolution is a whole map.
    return x.dtype.itemsize == 2 and (torch.compiler.is_compiling() or _is_inside_a_derivative())


def _is_inside_a_derivative() -> bool:
    """Return whether :func:`torch.func.grad` is at work, whose result the regularisers differentiate again."""
    return torch._C._functorch.peek_interpreter_stack() is not None


@torch.compiler.allow_in_graph  # type: ignore[untyped-decorator]
def _whole(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, transposed: bool) -> Tensor:
    # Kept whole in graphs: looked into, a derivative inside a derivative would be compiled wrongly (ops/resample.py).
    result: Tensor = _Convolution.apply(x, weight, bias, _Kind(stride, padding, transposed))  # type: ignore[no-untyped-call]
    return result


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, kind: _Kind) -> Tensor:
    stride, padding, dilation = [kind.stride] * 2, [kind.padding] * 2, [1, 1]
    y: Tensor = torch.ops.aten.convolution(
        x, weight, bias, stride, padding, dilation, kind.transposed, list(kind.output_padding), 1
    )
    return y


def _missing(size: torch.Size, kernel: torch.Size, wanted: torch.Size, kind: _Kind) -> tuple[int, int]:
    """Return by how much a transposed convolution of maps of ``size`` falls short of ``wanted``."""
    if kind.transposed:  # leading back from it is an ordinary convolution, whose result is never short
        return 0, 0
    reached = [(size[d] - 1) * kind.stride - 2 * kind.padding + kernel[d] for d in (2, 3)]
    return wanted[2] - reached[0], wanted[3] - reached[1]


class _Convolution(torch.autograd.Function):
    """Linear in features and in weight."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, kind: _Kind) -> Tensor:
        """Return the features convolved."""
        return _convolution(x, weight, bias, kind)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember both arguments."""
        x, weight, bias, ctx.kind = inputs
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Lead back to the features by the turned kind; to the weight by its own operation."""
        x, weight = ctx.saved_tensors
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            turned = ctx.kind.turned(_missing(gradient.shape, weight.shape, x.shape, ctx.kind))
            to_x = _Convolution.apply(gradient, weight, None, turned)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            to_weight = _WeightGradient.apply(gradient, x, weight.shape, ctx.kind)  # type: ignore[no-untyped-call]
        if ctx.has_bias and ctx.needs_input_grad[2]:
            to_bias = gradient.sum(dim=(0, 2, 3))
        return to_x, to_weight, to_bias, None


class _WeightGradient(torch.autograd.Function):
    """Linear in the gradient of the result and in the features."""

    @staticmethod
    def forward(gradient: Tensor, x: Tensor, shape: torch.Size, kind: _Kind) -> Tensor:
        """Return the gradient of the weight."""
        # Of the weight only the size matters for its own gradient.
        weight = gradient.new_empty(()).expand(shape)
        stride, padding, dilation = [kind.stride] * 2, [kind.padding] * 2, [1, 1]
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, dilation, kind.transposed, list(kind.output_padding), 1,
            [False, True, False],
        )[1]  # fmt: skip
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Remember both arguments."""
        gradient, x, _, ctx.kind = inputs
        ctx.save_for_backward(gradient, x)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """The same convolutions, with the change of the weight as their weight."""
        gradient, x = ctx.saved_tensors
        to_gradient = to_x = None
        if ctx.needs_input_grad[0]:
            to_gradient = _Convolution.apply(x, change, None, ctx.kind)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            turned = ctx.kind.turned(_missing(gradient.shape, change.shape, x.shape, ctx.kind))
            to_x = _Convolution.apply(gradient, change, None, turned)  # type: ignore[no-untyped-call]
        return to_gradient, to_x, None, None
