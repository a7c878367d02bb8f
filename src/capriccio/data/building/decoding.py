"""From the bytes of any photograph to an upright 8-bit picture in sRGB, grey or with alpha."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from capriccio.data.pictures import SIDEWAYS, PictureError, opened_picture, orientation_of, upright

OVERSIZE = 1.4
"""Photographs are decoded at this many times the size they are reduced to, where the format can decode in part: so the
antialiasing filter has a choice."""

_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\x00",
    b"MM\x00*",
)
"""How files begin that can be nothing else; what begins so and cannot be decoded is damaged."""

_WEAK_SIGNATURES = (b"BM", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
"""Two letters that may also begin a text."""


def has_picture_signature(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (12 bytes) is a picture, sound or damaged, whatever its name says."""
    return head.startswith(_SIGNATURES) or _is_riff_or_avif(head)


def may_be_picture(head: bytes) -> bool:
    """Whether it is worth trying to decode a file that begins with ``head`` (12 bytes)."""
    return has_picture_signature(head) or head.startswith(_WEAK_SIGNATURES)


def decode_photograph(
    data: bytes, mode: str, background: tuple[int, int, int], needed: tuple[float, float]
) -> Image.Image:
    """Decode a photograph to an upright picture of ``mode``, not much larger than needed.

    JPEG files are decoded at a half, quarter or eighth where that is still as large as ``needed``. Colours are
    converted to sRGB by the file's own profile, CMYK included; samples of 16 bits are scaled; of an animation the first
    frame is taken; transparency is laid on ``background`` unless ``mode`` keeps it.

    Args:
        data: the file.
        mode: L, RGB or RGBA.
        background: RGB, 0…255.
        needed: (height, width) that the result should have at least, where the original has it.

    Raises: PictureError if the file cannot be decoded or has too many pixels.
    """
    with opened_picture(data) as image:
        height, width = needed[::-1] if orientation_of(image) in SIDEWAYS else needed
        image.draft(image.mode, (max(1, int(width)), max(1, int(height))))
        orientation = orientation_of(image)
        image.load()
        return upright(_converted(image, mode, background), orientation)


def _converted(image: Image.Image, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """Return the picture in ``mode``: 8 bits, sRGB, transparency laid on ``background`` or kept."""
    if image.mode == "F":
        raise PictureError("holds floating-point samples, whose range is not known")
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit samples to 255 instead of scaling them.
        samples = np.asarray(image).astype(np.int64)
        return Image.fromarray(np.clip(samples / 257 + 0.5, 0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colour = _to_srgb(rgba.convert("RGB"), image.info.get("icc_profile"))
        colour.putalpha(rgba.getchannel("A"))
        if mode == "RGBA":
            return colour
        return Image.alpha_composite(Image.new("RGBA", colour.size, background), colour).convert("RGB").convert(mode)
    if image.mode in ("P", "1", "LA", "PA", "La", "RGBa", "RGBX", "YCbCr", "HSV"):
        image = _with_profile(image.convert("RGB"), image)
    colour = _to_srgb(image, image.info.get("icc_profile"))
    return colour if colour.mode == mode else colour.convert(mode)


def _with_profile(converted: Image.Image, original: Image.Image) -> Image.Image:
    converted.info["icc_profile"] = original.info.get("icc_profile")
    return converted


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert by the embedded profile; a profile that is damaged or of another kind of colour is ignored."""
    if profile and (transform := _srgb_transform(profile, image.mode)) is not None:
        converted = transform.apply(image)
        converted.info.clear()
        return converted
    if image.mode == "LAB":
        raise PictureError("holds Lab colours without a profile")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


@lru_cache(maxsize=32)
def _srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion to sRGB, or None where there is nothing to convert or the profile cannot be used."""
    try:
        parsed = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(parsed).lower():
            return None
        return ImageCms.ImageCmsTransform(parsed, _SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _is_riff_or_avif(head: bytes) -> bool:
    return (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] in (b"ftypavif", b"ftypavis")


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
