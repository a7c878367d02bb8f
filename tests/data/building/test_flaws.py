from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from capriccio.data.building.flaws import bars, is_flat, lettering, small_grey
from capriccio.data.landscapes.painter import paint


def landscapes(count: int = 12) -> list[Image.Image]:
    return [Image.fromarray(pixels.transpose(1, 2, 0)) for pixels in paint(range(count), (256, 384), seed=1)]


def grey(image: Image.Image) -> np.ndarray:
    return np.asarray(small_grey(image), dtype=np.float32)


def framed(image: Image.Image, left: int, top: int, colour: str) -> Image.Image:
    canvas = Image.new("RGB", (image.width + 2 * left, image.height + 2 * top), colour)
    canvas.paste(image, (left, top))
    return canvas


@pytest.mark.parametrize("image", landscapes())
def test_a_landscape_has_no_flaw(image):
    assert not is_flat(grey(image))
    assert bars(grey(image)) is None
    assert lettering(grey(image)) is None


@pytest.mark.parametrize(
    ("left", "top", "words"), [(0, 40, "bars above and below"), (40, 0, "bars left and right"), (20, 20, "a frame all")]
)
@pytest.mark.parametrize("colour", ["black", "white"])
def test_bars_are_found_on_the_sides_where_they_are(left, top, words, colour):
    image = landscapes(1)[0]
    found = bars(grey(framed(image, left, top, colour)))
    assert found is not None
    assert found.startswith(words)


def test_one_even_side_is_a_sky_and_no_bar():
    pixels = np.asarray(landscapes(1)[0]).copy()
    pixels[:60] = 230
    assert bars(grey(Image.fromarray(pixels))) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_picture_is_flat_and_nothing_else(level):
    noise = np.random.default_rng(0).integers(-2, 3, (128, 128, 3))
    image = Image.fromarray(np.clip(level + noise, 0, 255).astype(np.uint8))
    assert is_flat(grey(image))
    assert bars(grey(image)) is None
    assert lettering(grey(image)) is None


@pytest.mark.parametrize("edge", ["above", "below"])
@pytest.mark.parametrize("colours", [("black", "white"), ("white", "black")])
def test_a_strip_of_lettering_is_found(edge, colours):
    image = landscapes(1)[0]
    top = 0 if edge == "above" else image.height - 24
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, top, image.width, top + 24), fill=colours[0])
    draw.text((8, top + 7), "(c) STOCK PICTURE AGENCY 48213 NOT FOR SALE - PREVIEW", fill=colours[1])
    assert lettering(grey(image)) == f"a strip of lettering {edge}"
