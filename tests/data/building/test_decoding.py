from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from capriccio.data.building.decoding import decode_photograph

from ..conftest import encoded, picture

WHITE = (255, 255, 255)


def decode_rgb(data: bytes, needed: tuple[int, int]) -> Image.Image:
    return decode_photograph(data, "RGB", WHITE, needed)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(mode):
    grey = picture(0).convert("L").convert("RGB")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey)[:, :, 0].astype(np.uint16) * 257)
    else:
        image = grey.convert("L").convert("P") if mode == "P" else grey.convert(mode)
    data = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    got = np.asarray(decode_rgb(data, (16, 16)))
    assert got.shape == (16, 16, 3)
    if mode != "1":
        assert np.abs(got.astype(int) - np.asarray(grey)).max() <= (1 if mode == "CMYK" else 0)


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert np.asarray(decode_rgb(encoded(clear), (8, 8))).min() == 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0] * 256)
    assert np.asarray(decode_rgb(encoded(palette, transparency=0), (8, 8))).min() == 255


def test_a_large_jpeg_is_decoded_at_a_fraction_and_stays_larger_than_needed():
    image = decode_rgb(encoded(picture(0, 512, 768), "JPEG"), (64, 64))
    assert 64 <= image.height < 512
    assert 64 <= image.width < 768
