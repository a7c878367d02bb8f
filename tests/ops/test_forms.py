"""Every form of an operation gives the numbers of the plain one: values, first and second derivatives."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch

from capriccio.ops.activation import noise_bias_leaky_relu
from capriccio.ops.conv import PLAIN, conv2d_resample
from capriccio.ops.modulated_conv import modulated_to_rgb
from capriccio.ops.resample import make_filter, upfirdn2d
from tests.ops.test_resample_derivatives import CASES

SMALLER = [{"down": 3, "padding": (2, 2, 0, 1)}, {"up": (2, 1), "padding": (2, 1, 0, 0)}]
FORMS = ["shifted", "triton"]


def assert_alike(form, plain, *inputs):
    """Compare values, the gradient of a nonlinear function of them, and the gradient of that gradient's square."""
    found = []
    for function in (form, plain):
        leaves = [x.clone().requires_grad_() for x in inputs]
        y = function(*leaves)
        first = torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        found.append([y.detach(), *(g.detach() for g in first), *second])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("taps", [(1, 2, 3, 4), (1, 3, 2), tuple(range(1, 10))], ids=["even", "odd", "separable"])
@pytest.mark.parametrize("case", [*CASES, *SMALLER], ids=str)
def test_a_form_of_resampling_is_the_depthwise_one_in_value_and_both_derivatives(form, taps, case):
    f = make_filter(taps).double()
    x = torch.randn(2, 3, 11, 12, dtype=torch.float64)
    assert_alike(lambda x: upfirdn2d(x, f, form=form, **case), lambda x: upfirdn2d(x, f, **case), x)


@pytest.mark.parametrize("up", ["phases", "folded"])
@pytest.mark.parametrize("fir", ["depthwise", "shifted"])
@pytest.mark.parametrize("k", [3, 5])
def test_a_form_of_up_convolution_is_the_transposed_one_in_value_and_both_derivatives(up, fir, k):
    f = make_filter((1, 3, 3, 1)).double()
    x, weight = torch.randn(2, 3, 4, 6, dtype=torch.float64), torch.randn(5, 3, k, k, dtype=torch.float64)
    forms = replace(PLAIN, up=up, fir=fir)
    assert_alike(
        lambda x, w: conv2d_resample(x, w, f, resampling="up", forms=forms),
        lambda x, w: conv2d_resample(x, w, f, resampling="up"),
        x,
        weight,
    )


def test_an_unusual_filter_is_transposed_whatever_is_asked_for():
    f, x, weight = make_filter((1, 2, 1)), torch.randn(1, 2, 4, 4), torch.randn(2, 2, 3, 3)
    folded = conv2d_resample(x, weight, f, resampling="up", forms=replace(PLAIN, up="folded"))
    torch.testing.assert_close(folded, conv2d_resample(x, weight, f, resampling="up"))


@pytest.mark.parametrize("clamp", [None, 0.7])
@pytest.mark.parametrize("count", [1, 2], ids=["one map", "map each"])
def test_noise_and_bias_added_one_by_one_are_the_matrix_product(clamp, count):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    noise = torch.randn(count, 1, 4, 5, dtype=torch.float64)
    strength, bias = torch.randn((), dtype=torch.float64), torch.randn(3, dtype=torch.float64)

    def added(form):
        return lambda x, strength, bias: noise_bias_leaky_relu(x.clone(), noise, strength, bias, clamp=clamp, form=form)

    assert_alike(added("pointwise"), added("matrix"), x, strength, bias)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
def test_sums_of_a_pictures_channels_are_their_convolution(channels, biased):
    x, weight = torch.randn(2, channels, 4, 5).double(), torch.randn(6, channels, 1, 1).double()
    bias = [torch.randn(6).double()] if biased else []

    def seen(forms):
        return lambda x, weight, *bias: conv2d_resample(x, weight, bias=bias[0] if bias else None, forms=forms)

    assert_alike(seen(replace(PLAIN, rgb="pointwise")), seen(PLAIN), x, weight, *bias)
    last = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight)]
    assert seen(replace(PLAIN, rgb="pointwise"))(*last, *bias).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sums_of_maps_are_the_product_that_makes_a_picture_of_them(channels):
    x, weight = torch.randn(2, 6, 4, 5).double(), torch.randn(channels, 6, 1, 1).double()
    styles, bias = torch.randn(2, 6).double(), torch.randn(channels).double()
    assert_alike(partial(modulated_to_rgb, form="pointwise"), modulated_to_rgb, x, weight, styles, bias)
    picture = modulated_to_rgb(x.contiguous(memory_format=torch.channels_last), weight, styles, bias, "pointwise")
    assert picture.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_second_derivative_of_a_form_is_the_eager_one(form):
    f, w = make_filter([1, 3, 3, 1]), torch.randn(4, 3, 3, 3, requires_grad=True)
    x = torch.randn(2, 3, 8, 8)

    def penalty(x, form=form):
        def score(x):
            y = torch.tanh(torch.conv2d(x, w, padding=1))
            return upfirdn2d(y, f, down=2, padding=(1, 1, 1, 1), form=form).square().sum()

        return torch.func.grad(score)(x).square().sum()

    (plain,) = torch.autograd.grad(penalty(x, "depthwise"), w)
    (eager,) = torch.autograd.grad(penalty(x), w)
    (compiled,) = torch.autograd.grad(torch.compile(penalty, backend="aot_eager", fullgraph=True)(x), w)
    torch.testing.assert_close(eager, plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-4)


def test_the_operator_of_the_kernel_says_its_shape_before_it_is_computed():
    from capriccio.ops.fir_kernel import operator

    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, 8, 6).contiguous(memory_format=memory_format)
        torch.library.opcheck(
            operator, (x, make_filter([1, 3, 3, 1]), [2, 2], [1, 1], [2, 1, 2, 1]),
            test_utils=("test_schema", "test_faketensor"),
        )  # fmt: skip


INTERPRETED = """
import torch
import torch.nn.functional as F
from capriccio.ops.fir_kernel import operator, plain_resample, resample_by_kernel
from capriccio.ops.fir_triton import launch

operator.register_kernel("cpu")(launch)  # so that derivatives run through the kernel, too
torch.manual_seed(0)
kernel = torch.rand(4, 3)
cases = [((1, 1), (1, 1), (2, 1, 2, 1)), ((2, 2), (1, 1), (2, 1, 2, 1)), ((1, 1), (2, 2), (1, 1, 1, 1)),
         ((3, 1), (2, 3), (2, 0, 1, 3))]

def plainly(x, up, down, padding):
    sparse = x.new_zeros((2, x.shape[1], 5 * up[1], 4 * up[0]))
    sparse[:, :, ::up[1], ::up[0]] = x
    y = F.conv2d(F.pad(sparse, padding), kernel.expand(x.shape[1], 1, 4, 3), groups=x.shape[1])
    return y[:, :, ::down[1], ::down[0]]

def derivatives(function, x):
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(function(x).sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return first.detach(), second

for channels, memory_format in ((3, torch.contiguous_format), (70, torch.channels_last)):
    for case in cases:
        x = torch.randn(2, channels, 5, 4).contiguous(memory_format=memory_format)
        torch.testing.assert_close(resample_by_kernel(x, kernel, *case), plainly(x, *case), atol=1e-4, rtol=1e-4)
        half = resample_by_kernel(x.half(), kernel, *case).float()
        torch.testing.assert_close(half, plainly(x, *case), atol=1e-2, rtol=1e-2)
        found = derivatives(lambda x: resample_by_kernel(x, kernel, *case), x)
        for mine, theirs in zip(found, derivatives(lambda x: plainly(x, *case), x), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)
print("alike")
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton, whose interpreter runs kernels")
def test_the_kernel_is_its_plain_twin_in_value_and_both_derivatives():
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "alike", done.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernel_on_a_gpu_is_its_plain_twin(dtype):
    from capriccio.ops.fir_kernel import plain_resample, resample_by_kernel

    f = make_filter([1, 3, 3, 1]).cuda()
    x = torch.randn(2, 70, 9, 12, device="cuda", dtype=dtype).contiguous(memory_format=torch.channels_last)
    for up, down, padding in (((2, 2), (1, 1), (2, 1, 2, 1)), ((1, 1), (2, 2), (1, 1, 1, 1))):
        plain = plain_resample(x.float(), f, list(up), list(down), list(padding))
        found = resample_by_kernel(x, f, up, down, padding)
        torch.testing.assert_close(found.float(), plain, atol=1e-2, rtol=1e-2)
