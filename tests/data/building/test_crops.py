from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from capriccio.data.building.crops import centre_window, random_windows, smart_window

side = st.integers(8, 4000)


@given(side, side, side, side)
def test_the_centre_window_keeps_the_aspect_and_touches_two_sides(height, width, target_height, target_width):
    left, top, right, bottom = centre_window(height, width, (target_height, target_width))
    assert (right - left) / (bottom - top) == pytest.approx(target_width / target_height)
    assert left == pytest.approx(width - right)
    assert top == pytest.approx(height - bottom)
    assert max((right - left) / width, (bottom - top) / height) == pytest.approx(1)


@given(st.integers(64, 2000), st.integers(64, 2000), st.integers(0, 99))
def test_random_windows_stay_inside_and_never_need_enlarging(height, width, seed):
    for left, top, right, bottom in random_windows(height, width, (48, 64), 5, seed=seed, key=b"photo"):
        assert left >= -1e-9
        assert top >= -1e-9
        assert right <= width + 1e-6
        assert bottom <= height + 1e-6
        assert (right - left) / (bottom - top) == pytest.approx(64 / 48)
        assert bottom - top >= 48 - 1e-6


def test_random_windows_depend_on_the_photograph_and_the_seed_alone():
    first = random_windows(500, 400, (64, 64), 3, seed=0, key=b"a")
    assert first == random_windows(500, 400, (64, 64), 3, seed=0, key=b"a")
    assert first != random_windows(500, 400, (64, 64), 3, seed=1, key=b"a")
    assert first != random_windows(500, 400, (64, 64), 3, seed=0, key=b"b")


@pytest.mark.parametrize("upright", [False, True])
def test_the_smart_window_finds_the_detail(upright):
    pixels = np.full((200, 600), 128, np.uint8)
    pixels[40:160, 430:570] = np.random.default_rng(0).integers(0, 256, (30, 35)).repeat(4, 0).repeat(4, 1)
    image = Image.fromarray(pixels.T if upright else pixels)
    left, top, right, bottom = smart_window(image, (64, 64))
    start, end = (top, bottom) if upright else (left, right)
    assert end - start == pytest.approx(200)
    assert start < 435
    assert end > 565


def test_the_smart_window_of_an_even_picture_is_the_centre():
    assert smart_window(Image.new("RGB", (300, 100)), (64, 64)) == pytest.approx((100, 0, 200, 100))
