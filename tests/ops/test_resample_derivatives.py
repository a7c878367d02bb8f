from __future__ import annotations

import pytest
import torch

from capriccio.ops.resample import make_filter, upfirdn2d

CASES = [
    {"padding": (2, 2, 2, 2)},
    {"up": 2, "padding": (2, 1, 2, 1)},
    {"down": 2, "padding": (1, 1, 1, 1)},
    {"up": (3, 1), "down": (2, 3), "padding": (2, 0, 1, 3)},
    {"padding": (-1, 2, 0, -1), "flip_filter": True},
]


@pytest.mark.parametrize("taps", [(1, 2, 3, 4), tuple(range(1, 10))], ids=["square", "separable"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_transpose_is_the_derivative_of_first_and_second_order(case, taps):
    f = make_filter(taps).double()
    x = torch.randn(1, 2, 11, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: upfirdn2d(x, f, **case), x)
    assert torch.autograd.gradgradcheck(lambda x: upfirdn2d(x, f, **case).square(), x)


def test_a_compiled_second_derivative_equals_the_eager_one():
    f, w = make_filter([1, 3, 3, 1]), torch.randn(4, 3, 3, 3, requires_grad=True)
    x = torch.randn(2, 3, 8, 8)

    def penalty(x):
        def score(x):
            return upfirdn2d(torch.tanh(torch.conv2d(x, w, padding=1)), f, down=2, padding=(1, 1, 1, 1)).square().sum()

        return torch.func.grad(score)(x).square().sum()

    (eager,) = torch.autograd.grad(penalty(x), w)
    (compiled,) = torch.autograd.grad(torch.compile(penalty, backend="aot_eager", fullgraph=True)(x), w)
    torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)
