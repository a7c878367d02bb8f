from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from capriccio.data.building.resampling import resize


def stripes(mode: str = "L") -> Image.Image:
    pixels = np.zeros((32, 32), np.uint8)
    pixels[:, ::2] = 255
    return Image.fromarray(pixels).convert(mode)


WHOLE = (0.0, 0.0, 32.0, 32.0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("resample", ["lanczos", "box"])
def test_half_of_the_light_is_a_lighter_grey_than_half_of_the_numbers(mode, resample):
    plain = np.asarray(resize(stripes(mode), (4, 4), WHOLE, resample=resample))
    light = np.asarray(resize(stripes(mode), (4, 4), WHOLE, resample=resample, linear=True))
    assert np.abs(plain[1:-1, 1:-1].astype(int) - 127).max() <= 4
    assert np.abs(light[1:-1, 1:-1].astype(int) - 188).max() <= 4  # sRGB of 0.5
    assert light.shape == plain.shape


@pytest.mark.parametrize("linear", [False, True])
def test_the_colour_of_what_cannot_be_seen_does_not_bleed(linear):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :16] = (255, 0, 0, 255)
    pixels[:, 16:] = (0, 255, 0, 0)
    small = np.asarray(resize(Image.fromarray(pixels), (5, 5), WHOLE, resample="box", linear=linear))
    assert (small[:, 2, 0] > 250).all()
    assert (small[:, 2, 1] < 5).all()
    assert ((small[:, 2, 3] > 80) & (small[:, 2, 3] < 130)).all()


def test_a_picture_of_the_right_size_is_not_touched():
    image = stripes("RGB")
    assert resize(image, (32, 32), WHOLE, resample="lanczos") is image
