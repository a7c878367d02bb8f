from __future__ import annotations

import pytest
import torch

from capriccio.augmentation.bands import check_size, filter_bands, filter_bank, filter_taps
from capriccio.errors import ShapeError


def test_the_bands_are_symmetric_and_sum_to_the_identity():
    bank = filter_bank()
    identity = torch.zeros(43)
    identity[21] = 1
    torch.testing.assert_close(bank.sum(dim=0), identity)
    torch.testing.assert_close(bank, bank.flip(1))


def test_unit_gains_change_nothing():
    images = torch.randn(2, 3, 24, 30)
    torch.testing.assert_close(filter_bands(images, filter_taps(torch.ones(2, 4))), images)


def test_damping_the_finest_band_smooths_and_amplifying_it_roughens():
    images = torch.randn(1, 3, 32, 32)

    def roughness(gain: float) -> float:
        out = filter_bands(images, filter_taps(torch.tensor([[1.0, 1.0, 1.0, gain]])))
        return float(out.diff(dim=3).square().mean())

    assert roughness(0.1) < roughness(1.0) < roughness(3.0)


def test_each_picture_has_its_own_filter():
    images = torch.randn(1, 3, 24, 24).repeat(2, 1, 1, 1)
    taps = filter_taps(torch.tensor([[1.0, 2.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]]))
    both = filter_bands(images, taps)
    torch.testing.assert_close(both[:1], filter_bands(images[:1], taps[:1]))
    torch.testing.assert_close(both[1], images[1])


def test_pictures_too_small_for_the_filter_are_refused():
    check_size(22, 22)
    with pytest.raises(ShapeError, match=r"larger than 21 pixels, these have 64×16; .* without the letter f"):
        check_size(64, 16)
