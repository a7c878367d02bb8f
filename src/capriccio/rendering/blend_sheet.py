"""The sheet of a blend: the same seeds in both networks and in what was made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from capriccio.rendering.generate import paint
from capriccio.rendering.grids import Table, enlarge, picture_size, scale_to_reach
from capriccio.rendering.look import Look
from capriccio.rendering.mix import READABLE_SIDE
from capriccio.rendering.pictures import format_of, save_picture
from capriccio.rendering.sources import Source, open_source, provenance_of

if TYPE_CHECKING:
    from capriccio.loading.model import Model


def save_blend_sheet(
    models: Mapping[str, Model], source: Source, look: Look, path: Path, *, batch: int = 16, title: str = ""
) -> Path:
    """Write a table with a row for each latent and a column for each model, the first one as the source on the left.

    Args:
        models: networks of one shape by the name that is written above their column; the title says the first one's.
        source: seeds or latents, the same for all.
        look: how seeds become pictures.
        path: its ending chooses the format.
        batch: pictures painted at once.
        title: line above everything.

    Raises: UsageError if the source does not fit the models.
    """
    format_of(path)
    sources = {name: open_source(model, source, look) for name, model in models.items()}
    last = list(models)[-1]
    rows, size = sources[last], models[last].size
    scale = scale_to_reach(READABLE_SIDE, size)
    height, width = picture_size(models[last].channels, size)
    labels = [rows.label(i) for i in range(len(rows))]
    first, *others = models
    told = f"{first} on the left; {title}" if title else f"{first} on the left"
    table = Table(labels, others, (height * scale, width * scale), told, column_sources=False)
    for column, (name, model) in enumerate(models.items(), -1):
        for start in range(0, len(rows), batch):
            stop = min(start + batch, len(rows))
            for row, picture in enumerate(paint(model, sources[name], look, start, stop), start):
                table.put(row, column, enlarge(picture, scale))
    record = provenance_of(models[last], look, rows, 0, len(rows), kind="grid")
    return save_picture(path, table.image, record)
