"""The style-mixing table: rows keep their layout, columns lend some layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from capriccio.errors import UsageError
from capriccio.latent.mixing import Layers, describe_rows, level_of_row, mix, rows_of
from capriccio.progress import Progress
from capriccio.provenance import PictureFormat, Provenance
from capriccio.rendering.generate import paint
from capriccio.rendering.grids import Table, enlarge, picture_size, pictures_of, scale_to_reach
from capriccio.rendering.look import Look
from capriccio.rendering.pictures import ending_of, format_of, save_picture
from capriccio.rendering.sources import LatentSource, Source, open_source, provenance_of

if TYPE_CHECKING:
    from capriccio.loading.model import Model

READABLE_SIDE = 96
"""Pixels a cell has at least, so that the table can be looked at; small models are enlarged by a whole factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixRequest:
    """Which table."""

    rows: Source
    """Sources down the left: they keep every layer that is not mixed."""
    columns: Source
    """Sources along the top: the mixed layers come from them."""
    layers: Layers = "coarse"
    """"coarse", "middle", "fine", or latent rows like "0-3,7"."""
    look: Look = field(default_factory=Look)
    """How seeds become pictures."""
    scale: int | None = None
    """Whole factor by which the table is enlarged; None = until a cell's shorter side has READABLE_SIDE pixels."""
    batch: int = 16
    """Pictures the network paints at once."""

    def __post_init__(self) -> None:
        if self.batch < 1 or (self.scale is not None and self.scale < 1):
            raise UsageError(f"batch and scale must be at least 1, got {self.batch} and {self.scale}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedCell:
    """One mixed picture."""

    row: int
    """Index of the row's source."""
    column: int
    """Index of the column's source."""
    stem: str
    """File name without ending: row's, then column's."""
    image: Image.Image
    """The picture, as the network painted it."""
    provenance: Provenance
    """What made it."""


def mix_cells(model: Model, request: MixRequest) -> Iterator[MixedCell]:
    """Yield the mixed pictures row by row; only one batch is in memory.

    Raises: UsageError if a source or the layers do not fit the model, before anything is painted.
    """
    rows, columns, layers = _opened(model, request)
    return _cells(model, request, rows, columns, layers)


def save_mix(
    model: Model,
    request: MixRequest,
    path: str | Path,
    *,
    cells: Path | None = None,
    cell_format: PictureFormat = "png",
    quality: int = 90,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the mixing table and return the files written, the table first.

    Args:
        model: the network.
        request: sources, layers and look.
        path: file of the table; its ending chooses the format.
        cells: folder for one file per mixed picture, ``seed0001_seed0003.png`` with the row's source first; None = no.
        cell_format: format of those.
        quality: quality of lossy formats, 1..100.
        progress: called with (done, total) mixed pictures.

    Raises: UsageError if the request does not fit the model, or the table would be too large.
    """
    path = Path(path)
    format_of(path)  # a wrong ending is said before the work, not after it
    rows, columns, layers = _opened(model, request)
    scale = request.scale or scale_to_reach(READABLE_SIDE, model.size)
    height, width = picture_size(model.channels, model.size)
    table = Table(
        [rows.label(i) for i in range(len(rows))],
        [columns.label(i) for i in range(len(columns))],
        (height * scale, width * scale),
        title=_title(model, layers),
    )
    for column, picture in enumerate(_sources(model, request, columns)):
        table.put(-1, column, enlarge(picture, scale))
    for row, picture in enumerate(_sources(model, request, rows)):
        table.put(row, -1, enlarge(picture, scale))
    written = {path: None}
    ending = ending_of(cell_format)
    for done, cell in enumerate(_cells(model, request, rows, columns, layers), 1):
        table.put(cell.row, cell.column, enlarge(cell.image, scale))
        if cells is not None:
            cell_path = cells / f"{cell.stem}.{ending}"
            written[save_picture(cell_path, cell.image, cell.provenance, quality=quality)] = None
        if progress:
            progress(done, len(rows) * len(columns))
    whole = _mixed(provenance_of(model, request.look, rows, 0, len(rows), kind="mix"), columns, 0, len(columns), layers)
    save_picture(path, table.image, whole, quality=quality)
    return list(written)


def _opened(model: Model, request: MixRequest) -> tuple[LatentSource, LatentSource, tuple[int, ...]]:
    rows = open_source(model, request.rows, request.look)
    columns = open_source(model, request.columns, request.look)
    return rows, columns, rows_of(request.layers, model.num_ws)


def _sources(model: Model, request: MixRequest, source: LatentSource) -> Iterator[Image.Image]:
    for start in range(0, len(source), request.batch):
        yield from paint(model, source, request.look, start, min(start + request.batch, len(source)))


def _cells(
    model: Model, request: MixRequest, rows: LatentSource, columns: LatentSource, layers: tuple[int, ...]
) -> Iterator[MixedCell]:
    look, count = request.look, len(columns)
    for start in range(0, len(rows) * count, request.batch):
        places = [divmod(i, count) for i in range(start, min(start + request.batch, len(rows) * count))]
        ws = torch.cat([mix(rows.ws(row, row + 1), columns.ws(column, column + 1), layers) for row, column in places])
        seeds = [rows.noise_seed(row) for row, _ in places] if look.noise_mode == "random" else None
        images = model.images(ws, noise_mode=look.noise_mode, noise_seeds=seeds)
        for (row, column), picture in zip(places, pictures_of(images), strict=True):
            record = provenance_of(model, look, rows, row, row + 1, kind="mix")
            yield MixedCell(
                row=row,
                column=column,
                stem=f"{rows.stem(row)}_{columns.stem(column)}",
                image=picture,
                provenance=_mixed(record, columns, column, column + 1, layers),
            )


def _mixed(record: Provenance, columns: LatentSource, start: int, stop: int, layers: tuple[int, ...]) -> Provenance:
    return replace(
        record,
        mixed_layers=layers,
        mixed_seeds=columns.seeds(start, stop),
        mixed_latents=columns.names(start, stop),
    )


def _title(model: Model, layers: tuple[int, ...]) -> str:
    sides = sorted({min(model.shape.size_at(level_of_row(row, model.num_ws))) for row in layers})
    pixels = f"{sides[0]}" if len(sides) == 1 else f"{sides[0]}-{sides[-1]}"
    return f"{describe_rows(layers, model.num_ws).capitalize()} ({pixels} px) from the top, the rest from the left"
