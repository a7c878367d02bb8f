"""Resampling, modulated convolution and layers reproduce the golden numbers."""

from __future__ import annotations

import pytest
import torch

from capriccio.networks.layers import EqualizedConv2d, EqualizedLinear, MinibatchStdDev
from capriccio.ops.activation import bias_act, normalize_second_moment
from capriccio.ops.conv import conv2d_resample
from capriccio.ops.modulated_conv import modulated_conv2d, modulated_conv2d_per_sample
from capriccio.ops.resample import downsample2d, filter2d, upfirdn2d, upsample2d
from tests.parity.golden import Golden, close, of_kind


def cases(kind):
    return [pytest.param(g, c, id=f"{g.name}-{c['name']}") for g in of_kind(kind) for c in g.config["cases"]]


@pytest.mark.parametrize(("golden", "case"), cases("resample"))
def test_resampling(golden: Golden, case):
    f = golden[f"filter/{case['filter']}"] if case.get("filter") else None
    x = golden[f"in/{case.get('input', 'sq')}"]
    if case.get("zero_pad_input"):
        x = torch.nn.functional.pad(x, [case["zero_pad_input"]] * 4)
    options = {"flip_filter": case.get("flip_filter", False), "gain": case.get("gain", 1)}
    match case["op"]:
        case "upsample":
            y = upsample2d(x, f, up=case["factor"], padding=case.get("extra_padding", 0), **options)
        case "downsample":
            y = downsample2d(x, f, down=case["factor"], padding=case.get("extra_padding", 0), **options)
        case "filter":
            y = filter2d(x, f, padding=case.get("extra_padding", 0), **options)
        case "upfirdn":
            y = upfirdn2d(
                x,
                f,
                up=tuple(case["up_xy"]),
                down=tuple(case["down_xy"]),
                padding=tuple(case["pad_x0x1y0y1"]),
                **options,
            )
        case "conv":
            w = golden[f"in/w{case['kernel']}"]
            natural = "convolution" if case["mode"] == "up" else "correlation"
            w = w if case["weight_order"] == natural else w.flip([2, 3])
            y = conv2d_resample(x, w, f, resampling=case["mode"])
        case op:
            raise AssertionError(f"unknown operation {op}")
    close(y, golden[f"out/{case['name']}"])


@pytest.mark.parametrize("form", [modulated_conv2d, modulated_conv2d_per_sample])
@pytest.mark.parametrize(("golden", "case"), cases("modconv"))
def test_modulated_convolution(golden: Golden, case, form):
    k, up = case["kernel"], case["up"]
    y = form(
        golden["in/x"],
        golden[f"in/w{k}"],
        golden["in/style"],
        golden["filter"],
        resampling="up" if up == 2 else "none",
        demodulate=case["demodulate"],
    )
    if case["noise"]:
        y = y + golden[f"in/noise.k{k}.up{up}"]
    close(y, golden[f"out/{case['name']}"])


@pytest.mark.parametrize(("golden", "case"), cases("layers"))
def test_layers(golden: Golden, case):
    name = case["name"]
    match case["op"]:
        case "bias_act":
            y = bias_act(
                golden["in/act.x"],
                golden["in/act.b"],
                activation=case["act"],
                gain=case.get("gain"),
                clamp=case.get("clamp"),
            )
        case "normalise_second_moment":
            y = normalize_second_moment(golden["in/norm.x"])
        case "dense":
            weight = golden[f"in/{name}.weight"]
            layer = EqualizedLinear(*weight.shape[::-1], activation=case["act"], lr_multiplier=case["lr_mul"])
            layer.load_state_dict(golden.under(f"in/{name}."))
            y = layer(golden["in/dense.x"])
        case "conv_layer":
            out_channels, in_channels, k, _ = golden[f"in/{name}.weight"].shape
            conv = EqualizedConv2d(
                in_channels,
                out_channels,
                k,
                bias=case["bias"],
                activation=case["act"],
                resampling="up" if case["up"] == 2 else "down" if case["down"] == 2 else "none",
                resample_filter=tuple(case["fir"]),
                conv_clamp=case["clamp"],
            )
            conv.load_state_dict(golden.under(f"in/{name}."))
            y = conv(golden["in/conv.x"], gain=case["gain"])
        case "minibatch_stddev":
            y = MinibatchStdDev(case["group"], case["channels"])(golden[f"in/{name}"])
        case op:
            raise AssertionError(f"unknown operation {op}")
    close(y, golden[f"out/{name}"])
