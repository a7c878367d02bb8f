"""Picture files as targets of projection: found, decoded within limits, cut and resized to the model's shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capriccio.config import ImageShape
from capriccio.data.archive import IMAGE_SUFFIXES, is_picture
from capriccio.data.building.crops import centre_window
from capriccio.data.building.decoding import decode_photograph
from capriccio.data.building.resampling import resize
from capriccio.data.intake import RECIPES
from capriccio.data.pictures import PictureError, Pixels, as_pixels, read_header
from capriccio.errors import UsageError
from capriccio.ops.quantize import dequantize

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are refused unread."""

MAX_TARGET_PIXELS = 80_000_000
"""Larger pictures are refused from their header."""

MAX_ASPECT_RATIO = 4.0
"""A picture whose aspect differs more from the model's would lose three quarters of itself when it is cut."""

SMALLEST_SHARE = 0.25
"""Pictures smaller than this share of the model's size, in length, hold too little to be told anything about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One picture to project, or why it cannot be."""

    path: Path
    """Its file."""
    pixels: Pixels | None
    """uint8 [C, H, W] of the model's shape; None = it could not be used."""
    problem: str = ""
    """Why not, in words."""
    resized: bool = False
    """Whether it was cut or resized to fit, which a detector should know."""

    @property
    def name(self) -> str:
        """Its name without folder and ending, for what is written about it."""
        return self.path.stem


def find_pictures(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the picture files that are named or lie in the folders named, each once, sorted within each.

    In folders the ending decides; files named one by one are tried whatever they are called.

    Raises: UsageError if one does not exist, or a folder holds none.
    """
    found: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_picture(p.relative_to(path).as_posix()) and p.is_file())
            if not inside:
                raise UsageError(f"'{path}' holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"'{path}' does not exist.")
    return list(dict.fromkeys(found))


def open_targets(paths: Sequence[Path], shape: ImageShape) -> Iterator[Target]:
    """Yield each picture; one that cannot be used comes with its problem, and the others go on."""
    for path in paths:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise PictureError(f"is larger than {MAX_FILE_BYTES >> 20} MiB")
            pixels, resized = to_target(path.read_bytes(), shape)
        except (PictureError, OSError) as error:
            yield Target(path=path, pixels=None, problem=str(error))
        else:
            yield Target(path=path, pixels=pixels, resized=resized)


def to_target(data: bytes, shape: ImageShape) -> tuple[Pixels, bool]:
    """Return a picture file as uint8 [C, H, W] of ``shape``, and whether it had to be cut or resized for that.

    Cut around its centre to the aspect, then Lanczos. Raises: PictureError saying why it cannot be used.
    """
    if shape.channels not in RECIPES:
        raise PictureError(f"cannot be brought to the model's {shape.channels} channels; project tensors from Python")
    size, recipe = (shape.height, shape.width), RECIPES[shape.channels]
    height, width = read_header(data).size
    if height * width > MAX_TARGET_PIXELS:
        raise PictureError(f"has {height * width / 1e6:.0f} million pixels; the most is {MAX_TARGET_PIXELS / 1e6:.0f}")
    if height < size[0] * SMALLEST_SHARE or width < size[1] * SMALLEST_SHARE:
        raise PictureError(f"is too small: {height}×{width} for a model of {size[0]}×{size[1]}")
    off = (width / height) / (size[1] / size[0])
    if max(off, 1 / off) > MAX_ASPECT_RATIO:
        raise PictureError(f"is {width}×{height}: cut to the model's aspect, less than a quarter would be left")
    image = decode_photograph(data, recipe.mode, recipe.background, (2.0 * size[0], 2.0 * size[1]))
    window = centre_window(image.height, image.width, size)
    if (height, width) == size:
        return as_pixels(image), False
    return as_pixels(resize(image, size, window, resample="lanczos")), True


def to_images(pixels: Sequence[Pixels]) -> Tensor:
    """Return uint8 pictures [C, H, W] as a batch in −1…1, [N, C, H, W]."""
    return dequantize(torch.from_numpy(np.stack(pixels)))
