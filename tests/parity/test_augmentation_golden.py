"""The augmentation pipeline reproduces the golden numbers: every transformation, every preset, given parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.augmentation.bands import filter_bank
from capriccio.augmentation.geometry import SYM6, Margins, batch_margins, inverse_matrices
from capriccio.augmentation.parameters import (
    ColorParameters,
    CutoutParameters,
    GeometryParameters,
    NoiseParameters,
    Parameters,
    quantiles,
)
from capriccio.augmentation.pipeline import augment, plan
from capriccio.config import Transformations
from capriccio.ops.resample import make_filter
from tests.parity.golden import Golden, close, of_kind

PERCENTILES = of_kind("augment_debug_percentile")
GIVEN = of_kind("augment_given_parameters")


def check(golden: Golden, name: str, margins: list[int] | None, parameters: Parameters) -> None:
    """Compare margins, sampling matrices and pictures, planned tightly and at a fixed shape."""
    images = golden["in/images"]
    size = (images.shape[1], images.shape[2], images.shape[3])
    tight = plan(parameters, size)
    if parameters.geometry is not None:
        assert margins is not None
        matrices = inverse_matrices(parameters.geometry, size[1], size[2])
        left, right, top, bottom = margins
        assert batch_margins(matrices, size[1], size[2]) == Margins(left, top, right, bottom)
        close(tight.geometry.theta, golden[f"out/{name}.theta"], atol=1e-5, rtol=0)
    expected = golden[f"out/{name}"]
    close(augment(images, tight), expected, atol=1e-4, rtol=0)
    close(augment(images, plan(parameters, size, fixed_shape=True)), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("golden", "case"),
    [(g, case) for g in PERCENTILES for case in g.config["cases"]],
    ids=[f"{g}-{case['name']}" for g in PERCENTILES for case in g.config["cases"]],
)
def test_every_transformation_and_pipe_at_a_percentile(golden: Golden, case):
    images = golden["in/images"]
    chosen = Transformations(**dict.fromkeys(case["transforms"], 1.0))
    parameters = quantiles(
        chosen, case["percentile"], len(images), tuple(images.shape[1:]), golden.tensors.get(f"in/noise.{case['name']}")
    )
    check(golden, case["name"], case.get("margins_x0x1y0y1"), parameters)


@pytest.mark.parametrize(
    ("golden", "case"),
    [(g, case) for g in GIVEN for case in g.config["cases"]],
    ids=[f"{g}-{case['name']}" for g in GIVEN for case in g.config["cases"]],
)
def test_given_parameters(golden: Golden, case):
    given = golden.under(f"in/{case['name']}.")
    assert sorted(given) == case["params"]
    parameters = Parameters()
    if "xflip" in given:
        names = ("xflip", "rot90", "shift_px", "scale", "rot_pre", "aniso", "rot_post", "shift_frac")
        parameters = parameters._replace(geometry=GeometryParameters(*(given.pop(name) for name in names)))
    if "hue" in given:
        names = ("brightness", "contrast", "lumaflip", "hue", "saturation")
        parameters = parameters._replace(color=ColorParameters(*(given.pop(name) for name in names)))
    if "band_gain" in given:
        parameters = parameters._replace(band_gains=given.pop("band_gain"))
    if "noise" in given:
        parameters = parameters._replace(noise=NoiseParameters(given.pop("noise_sigma"), given.pop("noise")))
    if "cutout_size" in given:
        parameters = parameters._replace(cutout=CutoutParameters(given.pop("cutout_size"), given.pop("cutout_center")))
    assert not given
    check(golden, case["name"], case["margins_x0x1y0y1"], parameters)


@pytest.mark.parametrize("golden", GIVEN, ids=str)
def test_the_two_filters(golden: Golden):
    close(make_filter(SYM6), golden["const/lowpass_sym6"], atol=1e-7)
    close(filter_bank(), golden["const/filter_bank"], atol=1e-6)


def test_all_transformations_are_among_the_fixtures():
    seen = {name for golden in PERCENTILES for case in golden.config["cases"] for name in case["transforms"]}
    everything = replace(Transformations(), **dict.fromkeys(seen, 1.0))
    assert set(everything.enabled) == seen
    assert len(seen) == 15
    assert torch.isfinite(filter_bank()).all()
