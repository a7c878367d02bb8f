from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from capriccio.data.building.decoding import decode_photograph, has_picture_signature, may_be_picture
from capriccio.data.building.items import HeldContent, Item
from capriccio.data.building.recipe import Recipe
from capriccio.data.building.worker import Task, prepare

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


def linear_profile() -> bytes:
    """A profile whose numbers are light itself, unlike sRGB's: made from sRGB's by exchanging the curves."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack(">I", data[128:132])
    tags = {bytes(data[132 + 12 * i : 136 + 12 * i]): struct.unpack(">II", data[136 + 12 * i : 144 + 12 * i])
            for i in range(count)}  # fmt: skip
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        offset, size = tags[name]
        data[offset : offset + 16] = b"para" + bytes(4) + struct.pack(">HHi", 0, 0, 1 << 16)  # y = x ** 1
        assert size >= 16
    if b"desc" in tags:
        offset, size = tags[b"desc"]
        text = "Light itself".encode("utf-16-be")
        body = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
        data[offset : offset + len(body)] = body
    return bytes(data)


def test_colours_are_converted_by_the_files_own_profile():
    data = encoded(Image.new("RGB", (16, 16), (55, 55, 55)), icc_profile=linear_profile())
    assert np.abs(np.asarray(decode_rgb(data, (16, 16))).astype(int) - 128).max() <= 2  # sRGB of 55/255 of the light


@pytest.mark.parametrize("profile", [b"nonsense", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_a_profile_that_makes_no_sense_is_ignored(profile):
    data = encoded(picture(0), icc_profile=profile)
    np.testing.assert_array_equal(np.asarray(decode_rgb(data, (16, 16))), np.asarray(picture(0)))


def test_grey_and_alpha_are_kept_where_asked_for():
    clear = picture(0).convert("RGBA")
    clear.putalpha(100)
    rgba = decode_photograph(encoded(clear), "RGBA", WHITE, (16, 16))
    assert (rgba.mode, rgba.getextrema()[3]) == ("RGBA", (100, 100))
    grey = decode_photograph(encoded(picture(0)), "L", WHITE, (16, 16))
    np.testing.assert_array_equal(np.asarray(grey), np.asarray(picture(0).convert("L")))
    assert decode_photograph(encoded(picture(0)), "RGBA", WHITE, (16, 16)).getextrema()[3] == (255, 255)


def test_transparency_is_laid_on_the_colour_asked_for():
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    got = decode_photograph(encoded(half), "RGB", (0, 0, 255), (8, 8)).getpixel((0, 0))
    assert got == pytest.approx((128, 0, 127), abs=1)


def bomb() -> bytes:
    """A PNG that announces 40,000 × 40,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    outcome = prepare(Item("bomb.png", HeldContent(bomb())), Task(size=(16, 16), recipe=Recipe()))
    assert outcome.status == "dropped"
    assert "40000×40000 pixels" in outcome.reason or "more pixels than the limit" in outcome.reason


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "AVIF", "BMP", "PPM"])
def test_pictures_are_known_by_how_they_begin(image_format):
    head = encoded(picture(0), image_format)[:12]
    assert may_be_picture(head)
    assert has_picture_signature(head) == (image_format not in ("BMP", "PPM"))
    assert not may_be_picture(b"<!DOCTYPE ht")


def test_what_only_seems_to_begin_like_a_picture_is_none():
    outcome = prepare(Item("car.txt", HeldContent(b"BMW is a car.")), Task(size=(16, 16), recipe=Recipe()))
    assert outcome.status == "not-an-image"
    truncated = encoded(picture(0, 64, 64), "JPEG")[:300]
    assert prepare(Item("x.jpg", HeldContent(truncated)), Task(size=(16, 16), recipe=Recipe())).status == "unreadable"


def test_a_reduced_scale_decoding_shows_the_same_picture():
    photograph = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    data = encoded(photograph.resize((1536, 1152), Image.Resampling.BICUBIC), "JPEG", quality=92)
    reduced = decode_rgb(data, (180, 240))
    assert reduced.size == (384, 288)
    whole = Image.open(io.BytesIO(data)).resize((128, 96), Image.Resampling.LANCZOS)
    error = np.asarray(reduced.resize((128, 96), Image.Resampling.LANCZOS)).astype(float) - np.asarray(whole)
    assert 10 * np.log10(255**2 / np.square(error).mean()) > 40
