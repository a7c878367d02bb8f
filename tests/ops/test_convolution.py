"""Convolutions with derivatives of our own: those of PyTorch, to the third order, in every way of asking for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from capriccio.ops import convolution
from capriccio.ops.convolution import conv2d, conv_transpose2d

CASES = [(1, 1, 3, 7, 6), (2, 0, 3, 9, 7), (2, 0, 3, 10, 7), (1, 0, 1, 5, 5), (2, 1, 3, 8, 9)]
"""Stride, padding, side of the weight, height, width; not every size is reached by leading back without help."""


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    """Processors keep the library's derivatives; here they get ours."""
    monkeypatch.setattr(convolution, "_is_ours", lambda x: torch.is_grad_enabled())


def numbers(function, *arguments: torch.Tensor) -> list[torch.Tensor]:
    """Return the result, its derivatives to the third order, and the derivative of a functional one."""
    leaves = [a.clone().requires_grad_(True) for a in arguments]
    y = function(*leaves)
    first = torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves, create_graph=True)
    third = torch.autograd.grad(sum(g.square().sum() for g in second), leaves)
    inner = torch.func.grad(lambda x: function(x, *leaves[1:]).sin().sum())(leaves[0])
    return [y, *first, *second, *third, inner, *torch.autograd.grad(inner.square().sum(), leaves)]


@pytest.mark.parametrize(("stride", "padding", "side", "height", "width"), CASES)
@pytest.mark.parametrize("transposed", [False, True])
def test_derivatives_of_every_order_are_those_of_the_library(stride, padding, side, height, width, transposed):
    torch.manual_seed(0)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    how = {"stride": stride, "padding": padding}
    if transposed:
        weight = torch.randn(3, 4, side, side, dtype=torch.float64)
        mine = numbers(lambda a, w: conv_transpose2d(a, w, **how), x, weight)
        theirs = numbers(lambda a, w: F.conv_transpose2d(a, w, **how), x, weight)
    else:
        weight, bias = torch.randn(4, 3, side, side, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
        mine = numbers(lambda a, w, b: conv2d(a, w, b, **how), x, weight, bias)
        theirs = numbers(lambda a, w, b: F.conv2d(a, w, b, **how), x, weight, bias)
    for ours, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_a_compiled_derivative_of_a_derivative_is_right():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)

    def penalty(weight: torch.Tensor) -> torch.Tensor:
        def score(images: torch.Tensor) -> torch.Tensor:
            return F.leaky_relu(conv2d(images, weight, stride=2, padding=1), 0.2).square().sum()

        return torch.func.grad(score)(x).square().sum()

    def gradient(function) -> torch.Tensor:
        leaf = weight.clone().requires_grad_(True)
        (found,) = torch.autograd.grad(function(leaf), leaf)
        return found

    compiled = torch.compile(penalty, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradient(compiled), gradient(penalty), rtol=1e-4, atol=1e-5)


def test_nothing_is_remembered_where_no_derivative_is_asked_for():
    with torch.no_grad():
        y = conv2d(torch.randn(1, 3, 5, 5), torch.nn.Parameter(torch.randn(2, 3, 3, 3)), padding=1)
    assert not y.requires_grad


@pytest.mark.slow
def test_a_penalty_on_gradients_in_bf16_does_not_end_the_process():
    """The library's second derivative did on processors with AMX, at this size and not at half of it: SIGFPE."""
    program = """
import torch
from capriccio.config import DiscriminatorConfig, ImageShape
from capriccio.networks.discriminator import Discriminator
from capriccio.training.losses import r1_penalty

shape = ImageShape(channels=3, height=128, width=128)
network = Discriminator(DiscriminatorConfig(shape=shape, channel_base=8192, channel_max=256))
network.set_precision(torch.bfloat16)
output = r1_penalty(network, torch.randn(32, 3, 128, 128), None, None, gamma=1.0)
output.loss.backward()
assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-500:]
