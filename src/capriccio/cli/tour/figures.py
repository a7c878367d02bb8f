"""What every stop of the tour shows and says in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from capriccio.data.dataset import open_dataset
from capriccio.loading.model import Model
from capriccio.rendering.grids import image_grid, pictures_of, to_picture
from capriccio.rendering.report import Figure, Figures

_COLUMNS = 12
_BATCH = 16


def sheet(model: Model, seeds: Sequence[int], *, psi: float = 0.7) -> Image.Image:
    """Return the pictures of seeds, twelve in a row."""
    pictures = []
    for start in range(0, len(seeds), _BATCH):
        images = model.images(model.ws(seeds=seeds[start : start + _BATCH], truncation_psi=psi))
        pictures += pictures_of(images)
    return image_grid(pictures, _COLUMNS)


def archive_sheet(archive: Path) -> Image.Image:
    """Return the first pictures of a data set, twelve in a row."""
    pixels = open_dataset(archive, holdout=0, cache="none").train.images(range(3 * _COLUMNS))
    return image_grid([to_picture(p.transpose(1, 2, 0)) for p in pixels], _COLUMNS)


def shown(image: Image.Image | bytes, caption: str, scale: int | None = None) -> Figures:
    """Return one picture with its caption; ``scale`` as in :class:`Figure`."""
    return Figures(figures=[Figure(image=image, caption=caption, scale=scale)])


def say(line: str) -> None:
    """Tell where the tour is."""
    print(line, flush=True)


def minutes(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds / 60:.1f} minutes"
