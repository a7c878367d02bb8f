"""Sheets of samples as evidence: how different the generated pictures are from each other, and from the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from capriccio.config import ImageShape
from capriccio.rendering.grids import picture_size

_SMALL = 16
"""Distances are taken between pictures reduced to this side: what they show counts, not their grain."""

Pictures = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Variety:
    """How different pictures are from each other, as root mean squared differences of reduced pictures, 0…1."""

    mean_distance: float
    """Over all pairs."""
    nearest_distance: float
    """To the most similar other picture, the median."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What augmentation changes and a leak shows: one number for each picture and trait, [N, traits]."""

    names: tuple[str, ...]
    values: NDArray[np.float64]


def read_sheet(path: Path, shape: ImageShape) -> Pictures | None:
    """Cut a sheet into its pictures, float32 [N, H, W, C] in 0…1; None if it cannot be read or is of another size.

    Cells that were left empty at the end of a sheet are left out.
    """
    height, width = picture_size(shape.channels, (shape.height, shape.width))
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError):
        return None
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[0] % height or pixels.shape[1] % width:
        return None
    rows, columns, channels = pixels.shape[0] // height, pixels.shape[1] // width, pixels.shape[2]
    cells = pixels.reshape(rows, height, columns, width, channels).swapaxes(1, 2).reshape(-1, height, width, channels)
    paper = 0 if channels == 4 else 255
    painted = np.flatnonzero((cells != paper).any(axis=(1, 2, 3)))
    # Only the last row has empty cells; a sheet of nothing else is one of blank pictures.
    count = int(painted[-1]) + 1 if painted.size else len(cells)
    return cells[:count].astype(np.float32) / np.float32(255) if count > 1 else None


def variety(pictures: Pictures) -> Variety:
    """Return how different ``pictures`` [N, H, W, C] are from each other, N at least 2."""
    reduced = _reduced(pictures).reshape(len(pictures), -1).astype(np.float64)
    squares = (reduced**2).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares[None] - 2 * reduced @ reduced.T, 0) / reduced.shape[1]
    distances = np.sqrt(squared)
    pairs = distances[np.triu_indices(len(pictures), 1)]
    np.fill_diagonal(distances, np.inf)
    return Variety(float(pairs.mean()), float(np.median(distances.min(axis=1))))


def traits(pictures: Pictures) -> Traits:
    """Return what augmentations change, for each of ``pictures`` [N, H, W, C].

    Turning shows in the differences between halves, colour in brightness, contrast and tint.
    """
    colours = pictures[..., :3] if pictures.shape[3] >= 3 else pictures[..., :1]
    grey = colours.mean(axis=3)
    height, width = grey.shape[1:]
    numbers = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "top against bottom": grey[:, : height // 2].mean(axis=(1, 2)) - grey[:, height // 2 :].mean(axis=(1, 2)),
        "left against right": grey[:, :, : width // 2].mean(axis=(1, 2)) - grey[:, :, width // 2 :].mean(axis=(1, 2)),
    }
    if colours.shape[3] == 3:
        # The axes along which natural pictures differ most and least: turned hues stand out on the second.
        red, green, blue = (colours[..., i].mean(axis=(1, 2)) for i in range(3))
        numbers |= {"blue against red": blue - red, "magenta against green": (red + blue) / 2 - green}
    return Traits(tuple(numbers), np.stack(list(numbers.values()), axis=1).astype(np.float64))


def _reduced(pictures: Pictures) -> Pictures:
    """Return pictures averaged over boxes, [N, ≤ 31, ≤ 31, C]; rows and columns that fill no box are left out."""
    count, height, width, channels = pictures.shape
    tall, wide = max(height // _SMALL, 1), max(width // _SMALL, 1)
    cut = pictures[:, : height // tall * tall, : width // wide * wide]
    boxes: Pictures = cut.reshape(count, height // tall, tall, width // wide, wide, channels).mean(axis=(2, 4))
    return boxes
