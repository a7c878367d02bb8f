"""From the bytes of a picture file to pixels, with the limits that make foreign files harmless."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from capriccio.errors import DatasetError

Pixels = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""Decoders that may be used, whatever a file's name says."""

MAX_PIXELS = 1 << 27
"""Pictures of more pixels (134 million) are refused from their header, before anything is decoded."""

PLAIN_MODES = ("L", "LA", "P", "RGB", "RGBA")
"""Pillow modes whose samples are bytes and are taken as they are: 1, 2, 1, 3 and 4 channels."""

_UPRIGHT = 1
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its picture before it is decoded."""

    size: tuple[int, int]
    """(height, width) once upright."""
    mode: str
    """Pillow mode."""
    upright: bool
    """False when an EXIF tag asks to turn or mirror the picture."""


class PictureError(DatasetError):
    """One picture cannot be used; the message says why, the caller knows which."""


class TooManyPixelsError(PictureError):
    """The header announces more pixels than anybody's photograph has: a decompression bomb."""


def read_header(data: bytes) -> Header:
    """Return size and mode of an encoded picture without decoding it. Raises: PictureError."""
    with opened_picture(data) as image:
        orientation = orientation_of(image)
        size = (image.width, image.height) if orientation in SIDEWAYS else (image.height, image.width)
        return Header(size, image.mode, orientation == _UPRIGHT)


def decode(data: bytes) -> Pixels:
    """Decode a picture as it is, uint8 [C, H, W]: no conversion of colours, palette indices stay indices.

    Raises: PictureError if it cannot be decoded, is too large, or is not of 8 bits per sample.
    """
    with opened_picture(data) as image:
        if image.mode not in PLAIN_MODES:
            raise PictureError(f"has mode {image.mode}, not 8-bit grey, RGB or RGBA")
        return as_pixels(image)


def as_pixels(image: Image.Image) -> Pixels:
    """Return the samples of a picture of a plain mode, uint8 [C, H, W], a new array."""
    samples = np.asarray(image)
    return np.ascontiguousarray(samples.transpose(2, 0, 1)) if samples.ndim == 3 else samples[None].copy()


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn and mirror a picture by its EXIF orientation, 1…8."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1…8; nonsense counts as upright."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    return orientation if orientation in _TURNS else _UPRIGHT


def reduce(pixels: Pixels, size: tuple[int, int], resampling: Image.Resampling = Image.Resampling.LANCZOS) -> Pixels:
    """Resize pixels [C, H, W] to ``size`` (height, width) with an antialiased filter."""
    if pixels.shape[1:] == size:
        return pixels
    if len(pixels) in (3, 4):  # Pillow weighs RGBA by alpha, so hidden colours do not bleed
        image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        return np.ascontiguousarray(np.asarray(image.resize(size[::-1], resampling)).transpose(2, 0, 1))
    return np.stack([np.asarray(Image.fromarray(plane).resize(size[::-1], resampling)) for plane in pixels])


@contextmanager
def opened_picture(data: bytes) -> Iterator[Image.Image]:
    """Open an encoded picture without decoding it; whatever a decoder raises inside the block becomes a PictureError.

    Raises: TooManyPixelsError from the header alone, before memory for the pixels is taken.
    """
    if not data:
        raise PictureError("is an empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise TooManyPixelsError(
                    f"has {image.width}×{image.height} pixels, more than the limit of {MAX_PIXELS:,}"
                )
            yield image
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("is not a picture of a known format") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"has more pixels than the limit of {MAX_PIXELS:,}") from error
    except Exception as error:  # decoders of damaged files raise almost anything: OSError, SyntaxError, struct.error
        raise PictureError(f"cannot be decoded ({error})") from error
