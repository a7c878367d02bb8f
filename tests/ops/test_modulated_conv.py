from __future__ import annotations

import pytest
import torch

from capriccio.ops.modulated_conv import demodulation, modulated_conv2d, modulated_conv2d_per_sample, modulated_to_rgb
from capriccio.ops.resample import make_filter


def inputs(dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 6, 10, generator=rng, dtype=dtype)
    weight = torch.randn(5, 4, 3, 3, generator=rng, dtype=dtype)
    styles = 1 + 0.3 * torch.randn(3, 4, generator=rng, dtype=dtype)
    return x, weight, styles


@pytest.mark.parametrize("resampling", ["none", "up"])
@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_activations_equals_scaling_weights_up_to_the_second_derivative(resampling, demodulate):
    f = make_filter([1, 3, 3, 1]).double()

    def second_order(form):
        x, weight, styles = (t.requires_grad_() for t in inputs())
        y = form(x, weight, styles, f, resampling=resampling, demodulate=demodulate)
        (first,) = torch.autograd.grad(y.square().sum(), styles, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), (x, weight, styles))
        return y, first, *second

    for fast, plain in zip(second_order(modulated_conv2d), second_order(modulated_conv2d_per_sample), strict=True):
        torch.testing.assert_close(fast, plain)


def test_demodulated_weights_have_unit_norm():
    _, weight, styles = inputs()
    demod = demodulation(weight.square().sum(dim=(2, 3)), styles)
    per_sample = weight[None] * styles[:, None, :, None, None] * demod[:, :, None, None, None]
    norms = per_sample.square().sum(dim=(2, 3, 4))
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_demodulation_cancels_any_factor_of_the_style():
    x, weight, styles = inputs()
    torch.testing.assert_close(
        modulated_conv2d(x, weight, styles), modulated_conv2d(x, weight, 7 * styles), rtol=1e-6, atol=1e-6
    )


def test_half_precision_does_not_overflow_where_raw_products_would():
    x, weight, styles = inputs(torch.float32)
    exact = modulated_conv2d(x, weight, styles)
    half = modulated_conv2d(x.half(), 300 * weight, 300 * styles)
    assert half.dtype == torch.float16
    assert half.isfinite().all()
    torch.testing.assert_close(half.float(), exact, atol=2e-2, rtol=2e-2)


def test_gain_scales_the_result_for_nothing():
    x, weight, styles = inputs()
    for demodulate in (True, False):
        plain = modulated_conv2d(x, weight, styles, demodulate=demodulate)
        torch.testing.assert_close(modulated_conv2d(x, weight, styles, demodulate=demodulate, gain=0.7), 0.7 * plain)


def test_to_rgb_is_a_modulated_convolution_with_bias():
    x, weight, styles = inputs()
    weight = weight[:3, :, :1, :1]
    bias = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    expected = modulated_conv2d_per_sample(x, weight, styles, demodulate=False) + bias[None, :, None, None]
    torch.testing.assert_close(modulated_to_rgb(x, weight, styles, bias), expected)
