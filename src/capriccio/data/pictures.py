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
_SIDEWAYS = (5, 6, 7, 8)
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


def read_header(data: bytes) -> Header:
    """Return size and mode of an encoded picture without decoding it. Raises: PictureError."""
    with _opened(data) as image:
        orientation = _orientation(image)
        size = (image.width, image.height) if orientation in _SIDEWAYS else (image.height, image.width)
        return Header(size, image.mode, orientation == _UPRIGHT)


def decode(data: bytes) -> Pixels:
    """Decode a picture as it is, uint8 [C, H, W]: no conversion of colours, palette indices stay indices.

    Raises: PictureError if it cannot be decoded, is too large, or is not of 8 bits per sample.
    """
    with _opened(data) as image:
        if image.mode not in PLAIN_MODES:
            raise PictureError(f"has mode {image.mode}, not 8-bit grey, RGB or RGBA")
        pixels = np.asarray(image)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)) if pixels.ndim == 3 else pixels[None].copy()


def decode_rgb(data: bytes, target: tuple[int, int]) -> Image.Image:
    """Decode any photograph to an upright RGB picture, not much larger than needed for ``target`` (height, width).

    JPEG files are decoded at a fraction of their size where that is still at least twice the target; 16-bit grey is
    scaled, transparency is laid on white. Raises: PictureError.
    """
    with _opened(data) as image:
        orientation = _orientation(image)
        height, width = (2 * side for side in (target[::-1] if orientation in _SIDEWAYS else target))
        image.draft("RGB", (width, height))
        image.load()
        rgb = _to_rgb(image)
        return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def centre_crop(image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Cut the largest centred part with the aspect of ``target`` (height, width) and reduce it to that size."""
    scale = min(image.width / target[1], image.height / target[0])
    width, height = target[1] * scale, target[0] * scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (left, top, left + width, top + height)
    return image.resize(target[::-1], Image.Resampling.LANCZOS, box=box)


def reduce(
    pixels: Pixels, size: tuple[int, int], resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> Pixels:
    """Resize pixels [C, H, W] to ``size`` (height, width) with an antialiased filter."""
    if pixels.shape[1:] == size:
        return pixels
    if len(pixels) in (3, 4):  # Pillow weighs RGBA by alpha, so hidden colours do not bleed
        image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        return np.ascontiguousarray(np.asarray(image.resize(size[::-1], resampling)).transpose(2, 0, 1))
    return np.stack([np.asarray(Image.fromarray(plane).resize(size[::-1], resampling)) for plane in pixels])


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip 16-bit samples to 255 instead of scaling them.
        grey = np.clip(np.asarray(image).astype(np.int64) / 257 + 0.5, 0, 255).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise PictureError("holds floating-point samples, whose range is not known")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1…8; nonsense counts as upright."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    return orientation if orientation in _TURNS else _UPRIGHT


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open an encoded picture; whatever a decoder raises inside the block becomes a PictureError."""
    if not data:
        raise PictureError("is an empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(f"has {image.width}×{image.height} pixels, more than the limit of {MAX_PIXELS:,}")
            yield image
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("is not a picture of a known format") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"has more pixels than the limit of {MAX_PIXELS:,}") from error
    except Exception as error:  # decoders of damaged files raise almost anything: OSError, SyntaxError, struct.error
        raise PictureError(f"cannot be decoded ({error})") from error
