"""Reducing a window of a picture to its final size: antialiased, in linear light on request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from capriccio.data.building.crops import Box
from capriccio.data.building.recipe import ResampleFilter

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}

_REDUCING_GAP = 3.0
"""Pictures this many times larger than needed are first averaged in blocks; the difference cannot be seen."""


def resize(
    image: Image.Image, size: tuple[int, int], box: Box, *, resample: ResampleFilter, linear: bool = False
) -> Image.Image:
    """Reduce the part ``box`` of ``image`` to ``size`` (height, width); at its edges the filter sees what lies beyond.

    Args:
        image: of mode L, RGB or RGBA.
        size: of the result.
        box: the part, may cut pixels.
        resample: antialiasing filter.
        linear: average light, not the numbers that stand for it (sRGB, IEC 61966-2-1).
    """
    whole = (0.0, 0.0, float(image.width), float(image.height))
    if size == (image.height, image.width) and box == whole:
        return image
    if linear:
        return _resize_linear(image, size, box, _FILTERS[resample])
    return image.resize(size[::-1], _FILTERS[resample], box=box, reducing_gap=_REDUCING_GAP)


def _resize_linear(image: Image.Image, size: tuple[int, int], box: Box, resample: Image.Resampling) -> Image.Image:
    samples = np.asarray(image)
    planes = samples[:, :, None] if samples.ndim == 2 else samples
    alpha = planes[:, :, 3].astype(np.float32) / 255 if image.mode == "RGBA" else None

    def reduced(plane: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        small = Image.fromarray(plane.astype(np.float32, copy=False)).resize(size[::-1], resample, box=box)
        return np.asarray(small, dtype=np.float32)

    colours = 3 if planes.shape[2] >= 3 else 1
    light = [_TO_LINEAR[planes[:, :, channel]] for channel in range(colours)]
    if alpha is None:
        out = [_encode(reduced(plane)) for plane in light]
    else:  # colours weighed by alpha, so that hidden ones do not bleed
        cover = reduced(alpha)
        safe = np.maximum(cover, 1 / 512)
        out = [_encode(reduced(plane * alpha) / safe) for plane in light]
        out.append(np.clip(np.rint(cover * 255), 0, 255).astype(np.uint8))
    return Image.fromarray(out[0] if len(out) == 1 else np.ascontiguousarray(np.stack(out, axis=2)))


def _to_linear() -> NDArray[np.float32]:
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def _encode(light: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    light = np.clip(light, 0, 1)
    level = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    rounded: NDArray[np.uint8] = np.rint(level * 255).astype(np.uint8)
    return rounded


_TO_LINEAR = _to_linear()
