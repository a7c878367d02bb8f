"""The bundled model, its encoder and its calibration, as people use them."""

from __future__ import annotations

import pytest

import capriccio
from capriccio.data.landscapes.painter import paint
from capriccio.detection.calibrate import made_picture
from capriccio.detection.detector import calibration_settings, detecting_projector
from capriccio.inversion.targets import to_images
from capriccio.loading.bundled import bundled_names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("landscapes-64" not in bundled_names(), reason="this installation has no bundled model"),
]


@pytest.fixture(scope="module")
def model():
    return capriccio.load("landscapes-64")


def test_its_calibration_is_for_what_it_is_today(model):
    """Settings that were invented later may change none of the hashes a calibration names."""
    assert model.encoder is not None
    assert model.facts.calibration["settings"] == calibration_settings(detecting_projector(model))
    assert len(model.facts.calibration["made"]) >= 300
    assert len(model.facts.calibration["real"]) >= 200


def test_it_recognises_its_own_pictures_whatever_noise_they_were_painted_with(model):
    pictures = to_images([made_picture(model, 2_000_000 + i) for i in range(32)])
    found = capriccio.detect(model, pictures)
    assert sum(v.verdict == "made" for v in found) >= 22  # 88 % are
    assert sum(v.verdict == "not-made" for v in found) <= 1


def test_painted_landscapes_are_not_accused(model):
    found = capriccio.detect(model, to_images(list(paint(range(8), model.size))))
    assert not [v for v in found if v.verdict == "made"]
