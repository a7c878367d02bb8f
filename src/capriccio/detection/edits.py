"""What happens to pictures on their way: saved, resized, cropped, softened. A detector is calibrated with them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Picture = Image.Image
Edit = Callable[[Picture, np.random.Generator], Picture]


def jpeg(picture: Picture, quality: int) -> Picture:
    """Save as JPEG and open again."""
    file = io.BytesIO()
    plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    plain.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert(picture.mode)


def resized_and_back(picture: Picture, share: float) -> Picture:
    """Reduce to a share of its sides and enlarge again."""
    small = (max(2, round(picture.width * share)), max(2, round(picture.height * share)))
    return picture.resize(small, Image.Resampling.LANCZOS).resize(picture.size, Image.Resampling.LANCZOS)


def cropped(picture: Picture, share: float, left: float, top: float) -> Picture:
    """Cut a window of a share of the sides, at (left, top) in 0…1 of the room there is, and enlarge it again."""
    width, height = picture.width * share, picture.height * share
    x, y = (picture.width - width) * left, (picture.height - height) * top
    return picture.resize(picture.size, Image.Resampling.LANCZOS, box=(x, y, x + width, y + height))


def blurred(picture: Picture, radius: float) -> Picture:
    """Soften by a Gaussian of ``radius`` pixels."""
    return picture.filter(ImageFilter.GaussianBlur(radius))


def noisy(picture: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Add Gaussian noise of ``strength`` grey levels."""
    values = np.asarray(picture).astype(np.float64)
    noise: NDArray[np.float64] = rng.normal(0, strength, values.shape)
    return Image.fromarray(np.clip(values + noise + 0.5, 0, 255).astype(np.uint8), picture.mode)


EDITS: dict[str, Edit] = {
    "jpeg": lambda p, rng: jpeg(p, int(rng.integers(50, 96))),
    "resize": lambda p, rng: resized_and_back(p, float(rng.uniform(0.5, 0.9))),
    "crop": lambda p, rng: cropped(p, 0.95, float(rng.random()), float(rng.random())),
    "blur": lambda p, rng: blurred(p, float(rng.uniform(0.3, 0.8))),
    "noise": lambda p, rng: noisy(p, float(rng.uniform(1, 4)), rng),
}
"""Edits by name, each with a strength of its own drawn."""


def random_edit(picture: Picture, rng: np.random.Generator) -> tuple[str, Picture]:
    """Return a picture after one edit, and which."""
    name = list(EDITS)[int(rng.integers(len(EDITS)))]
    return name, EDITS[name](picture, rng)
