"""Sample sheets of a run: the same latents through the averaged generator, again and again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from capriccio.config import GeneratorConfig
from capriccio.data.dataset import ImageDataset
from capriccio.durable import replacing
from capriccio.networks.generator import Generator
from capriccio.rendering.grids import Pixels, image_grid, to_picture, to_uint8

SHEET_SIZE = (1152, 640)
"""Width and height in pixels that a sheet aims at."""

MICRO_BATCH = 16


def sheet_layout(height: int, width: int) -> tuple[int, int]:
    """Return (columns, rows) of a sheet for pictures of this size: at least 4×3, at most 18×10."""
    return min(max(SHEET_SIZE[0] // width, 4), 18), min(max(SHEET_SIZE[1] // height, 3), 10)


class SampleSheet:
    """Fixed latents, and for conditional networks the labels of the pictures on the sheet of real ones."""

    def __init__(self, config: GeneratorConfig, dataset: ImageDataset, device: torch.device) -> None:
        self._columns, rows = sheet_layout(config.shape.height, config.shape.width)
        count = self._columns * rows
        z = np.random.RandomState(0).randn(count, config.z_dim)
        self._z = torch.from_numpy(z).float().to(device)
        shown = _shown_reals(dataset, count)  # archives are sorted by class: their first pictures may all be of one
        labels = dataset.labels(np.resize(shown, count)) if config.c_dim else None
        self._c = None if labels is None else torch.from_numpy(labels).to(device)

    @torch.no_grad()
    def save(self, path: Path, generator: Generator) -> None:
        """Write the sheet; constant noise, no truncation."""
        pixels = []
        for start in range(0, len(self._z), MICRO_BATCH):
            part = slice(start, start + MICRO_BATCH)
            images = generator(self._z[part], None if self._c is None else self._c[part])
            # A network that diverged still gets its sheet: grey pixels tell the story.
            pixels.append(to_uint8(torch.nan_to_num(images)))
        _save_sheet(path, np.concatenate(pixels), self._columns)


def save_reals(path: Path, dataset: ImageDataset) -> None:
    """Write a sheet of randomly chosen training pictures; it stays in the run folder."""
    columns, rows = sheet_layout(dataset.shape.height, dataset.shape.width)
    chosen = _shown_reals(dataset, columns * rows)
    _save_sheet(path, dataset.images(chosen).transpose(0, 2, 3, 1), columns)


def _shown_reals(dataset: ImageDataset, count: int) -> NDArray[np.int64]:
    """Return which pictures are on the sheet of real ones, ``count`` at most."""
    return np.random.RandomState(0).permutation(len(dataset))[:count]


def _save_sheet(path: Path, pixels: Pixels, columns: int) -> None:
    sheet = image_grid([to_picture(p) for p in pixels], columns)
    with replacing(path) as file:
        sheet.save(file, format="PNG")
