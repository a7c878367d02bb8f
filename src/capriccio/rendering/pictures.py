"""Picture files that carry what made them, whole or not there at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from capriccio.durable import replacing
from capriccio.errors import UsageError
from capriccio.provenance import PictureFormat, Provenance, save_options

SUFFIXES: dict[str, PictureFormat] = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif",
}  # fmt: skip
"""Endings of picture files and their formats."""

_SMALL = 128 * 128
"""Pixels up to which WebP's search for a shorter file finds none: at 64×64 it takes half as long again for nothing."""

_LONGEST_SIDE = {"png": 2**31 - 1, "jpeg": 65500, "webp": 16383, "avif": 65535}


def format_of(path: Path) -> PictureFormat:
    """Return the picture format that the ending of ``path`` asks for. Raises: UsageError for any other ending."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: '{suffix}' is no picture format written here. "
                         f"There are {', '.join(SUFFIXES)}.")  # fmt: skip
    return SUFFIXES[suffix]


def ending_of(file_format: PictureFormat) -> str:
    """Return the ending, without a dot, of files of a format."""
    return "jpg" if file_format == "jpeg" else file_format


def encode_picture(
    picture: Image.Image, file_format: PictureFormat, provenance: Provenance, *, quality: int = 90
) -> bytes:
    """Return ``picture`` as the bytes of a file that carries ``provenance``.

    Args:
        picture: mode L, RGB or RGBA.
        file_format: "png" is always lossless.
        provenance: what made the picture.
        quality: 1..100 for JPEG, WebP and AVIF; 100 makes WebP lossless.

    Raises: UsageError if the format cannot hold the picture, or the quality is out of range.
    """
    if not 1 <= quality <= 100:
        raise UsageError(f"quality must lie in 1..100, got {quality}.")
    check_fits(file_format, picture.size, alpha=picture.mode == "RGBA")
    options: dict[str, Any] = save_options(provenance, file_format)
    if file_format != "png":
        options["quality"] = quality
    if file_format == "jpeg":
        options["subsampling"] = 0 if quality >= 90 else 2  # full colour resolution where quality is asked for
    if file_format == "webp":
        options["lossless"] = options["exact"] = quality == 100  # exact: colours under full transparency too
        if picture.width * picture.height <= _SMALL and quality < 100:
            options["method"] = 1
    file = io.BytesIO()
    picture.save(file, format=file_format, **options)
    return file.getvalue()


def check_fits(file_format: PictureFormat, size: tuple[int, int], *, alpha: bool) -> None:
    """Raise UsageError if a format cannot hold a picture of ``size`` (width, height), or its transparency."""
    if file_format == "jpeg" and alpha:
        raise UsageError("JPEG holds no transparency, and this model paints with alpha. Choose png, webp or avif.")
    longest = _LONGEST_SIDE[file_format]
    if max(size) > longest:
        raise UsageError(f"{file_format} holds at most {longest} pixels a side, this picture has {size[1]}×{size[0]}. "
                         "Choose another format, or a smaller picture.")  # fmt: skip


def save_picture(path: str | Path, picture: Image.Image, provenance: Provenance, *, quality: int = 90) -> Path:
    """Write ``picture`` in the format that the ending of ``path`` names; see :func:`encode_picture`."""
    path = Path(path)
    data = encode_picture(picture, format_of(path), provenance, quality=quality)
    with replacing(path) as file:
        file.write(data)
    return path
