from __future__ import annotations

import pytest
import torch

from capriccio.augmentation.parameters import Parameters, draw, quantiles
from capriccio.augmentation.pipes import PIPES
from capriccio.config import Transformations
from capriccio.errors import ShapeError

SIZE = (3, 24, 24)
COUNT = 4000


def drawn(chosen: Transformations, p: float, count: int = COUNT, seed: int = 0) -> Parameters:
    return draw(chosen, p, count, SIZE, torch.Generator().manual_seed(seed))


def test_at_p_zero_nothing_happens_to_anyone():
    parameters = drawn(PIPES["bgcfnc"], 0.0, 8)
    zero, one = torch.zeros(8), torch.ones(8)
    geometry = (zero, zero, torch.zeros(8, 2), one, zero, one, zero, torch.zeros(8, 2))
    for ours, neutral in zip(parameters.geometry, geometry, strict=True):
        torch.testing.assert_close(ours, neutral)
    for ours, neutral in zip(parameters.color, (zero, one, zero, zero, one), strict=True):
        torch.testing.assert_close(ours, neutral)
    assert (parameters.band_gains == 1).all()
    assert (parameters.noise.sigma == 0).all()
    assert (parameters.cutout.size == 0).all()


def test_every_transformation_happens_with_its_multiplier_times_p():
    parameters = drawn(Transformations(scale=1.0, rotate=1.0, xfrac=0.5, brightness=2.0, cutout=1.0), 0.3)
    geometry = parameters.geometry

    def share(happened: torch.Tensor) -> float:
        return float(happened.float().mean())

    assert share(geometry.scale != 1) == pytest.approx(0.3, abs=0.03)
    assert share((geometry.rotate_before != 0) | (geometry.rotate_after != 0)) == pytest.approx(0.3, abs=0.03)
    assert share(geometry.shift[:, 0] != 0) == pytest.approx(0.15, abs=0.03)
    assert torch.equal(geometry.shift[:, 0] != 0, geometry.shift[:, 1] != 0)  # one decision for both axes
    assert share(parameters.color.brightness != 0) == pytest.approx(0.6, abs=0.03)
    assert share(parameters.cutout.size != 0) == pytest.approx(0.3, abs=0.03)
    assert (geometry.xflip == 0).all()


def test_where_it_happens_values_have_the_stated_distributions():
    parameters = drawn(PIPES["bgcfnc"], 1.0)
    geometry, color = parameters.geometry, parameters.color
    assert geometry.xflip.mean() == pytest.approx(0.5, abs=0.03)
    assert geometry.quarter_turns.unique().tolist() == [0, 1, 2, 3]
    assert geometry.shift_px.unique().tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert geometry.scale.log2().std() == pytest.approx(0.2, rel=0.1)
    assert geometry.shift.std() == pytest.approx(0.125, rel=0.1)
    assert geometry.rotate_before.abs().max() == pytest.approx(torch.pi, rel=0.01)
    assert color.contrast.log2().std() == pytest.approx(0.5, rel=0.1)
    assert color.saturation.log2().std() == pytest.approx(1.0, rel=0.1)
    assert parameters.band_gains.log2().std() == pytest.approx(1.0, rel=0.1)
    assert parameters.noise.sigma.square().mean().sqrt() == pytest.approx(0.1, rel=0.1)
    assert parameters.noise.noise.shape == (COUNT, *SIZE)


def test_a_picture_changed_at_a_small_p_is_changed_alike_at_a_larger_one():
    small, large = (drawn(PIPES["bgc"], p, 100).geometry.scale for p in (0.3, 0.7))
    changed = small != 1
    assert torch.equal(small[changed], large[changed])
    assert (large != 1).sum() > changed.sum()


def test_the_same_stream_gives_the_same_numbers():
    first, second, other = (drawn(PIPES["bgc"], 0.5, 10, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.geometry, second.geometry, strict=True))
    assert not torch.equal(first.geometry.scale, other.geometry.scale)


def test_channels_without_a_colour_get_none():
    rng = torch.Generator()
    assert draw(PIPES["bgc"], 1.0, 2, (2, 8, 8), rng).color is None
    assert draw(PIPES["bgc"], 1.0, 2, (4, 8, 8), rng).color is not None


def test_what_is_switched_off_is_not_planned():
    parameters = drawn(PIPES["color"], 0.5, 3)
    assert parameters.geometry is parameters.band_gains is parameters.noise is parameters.cutout is None


def test_quantiles_of_noise_need_the_noise():
    with pytest.raises(ShapeError, match=r"standard normal images \[2, 3, 24, 24\]"):
        quantiles(PIPES["noise"], 0.5, 2, SIZE)
