"""The sheet of a direction: some pictures down the left, and what steps back and forth make of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from capriccio.errors import UsageError
from capriccio.latent.directions import Direction
from capriccio.latent.mixing import describe_rows
from capriccio.rendering.edit import EditedLatents, Move
from capriccio.rendering.generate import paint
from capriccio.rendering.grids import Table, enlarge, picture_size, scale_to_reach
from capriccio.rendering.look import Look
from capriccio.rendering.pictures import format_of, save_picture
from capriccio.rendering.sources import Source, open_source, provenance_of

if TYPE_CHECKING:
    from capriccio.loading.model import Model

READABLE_SIDE = 64
"""Pixels a cell has at least; sheets have many cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRequest:
    """What every sheet shows."""

    source: Source = (0, 1, 2, 3, 4, 5)
    """The pictures that are moved."""
    look: Look = field(default_factory=Look)
    """How seeds become pictures."""
    reach: float = 3.0
    """Strength of the outermost pictures."""
    steps: int = 3
    """Pictures on either side."""
    batch: int = 16
    """Pictures the network paints at once."""

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 100:
            raise UsageError(f"reach must lie in 0..100, got {self.reach}.")
        if not 1 <= self.steps <= 50 or self.batch < 1:
            raise UsageError(f"steps must lie in 1..50 and batch be at least 1, got {self.steps} and {self.batch}.")

    @property
    def strengths(self) -> list[float]:
        """Strengths from left to right, without 0."""
        up = [self.reach * (i + 1) / self.steps for i in range(self.steps)]
        return [-value for value in reversed(up)] + up


def save_direction_sheet(
    model: Model, direction: Direction, request: SheetRequest, path: Path, *, quality: int = 90
) -> Path:
    """Write the sheet of one direction; the ending of ``path`` chooses the format.

    Raises: UsageError if the pictures or the direction do not fit the model.
    """
    format_of(path)
    source = open_source(model, request.source, request.look)
    height, width = picture_size(model.channels, model.size)
    scale = scale_to_reach(READABLE_SIDE, model.size)
    strengths = request.strengths
    table = Table(
        [source.label(i) for i in range(len(source))],
        [f"{strength:+.3g}" for strength in strengths],
        (height * scale, width * scale),
        title=_title(model, direction),
        column_sources=False,
    )
    columns = [(-1, source), *((i, EditedLatents(source, (_move(direction, s),))) for i, s in enumerate(strengths))]
    for column, latents in columns:
        for start in range(0, len(source), request.batch):
            stop = min(start + request.batch, len(source))
            for row, picture in enumerate(paint(model, latents, request.look, start, stop), start):
                table.put(row, column, enlarge(picture, scale))
    record = provenance_of(model, request.look, source, 0, len(source), kind="edit")
    told = tuple(_move(direction, s).text(model.num_ws) for s in (strengths[0], strengths[-1]))
    return save_picture(path, table.image, replace(record, edits=told), quality=quality)


def _move(direction: Direction, strength: float) -> Move:
    return Move(direction=direction, strength=strength)


def _title(model: Model, direction: Direction) -> str:
    whole = len(direction.rows) == model.num_ws
    where = "all layers" if whole else describe_rows(direction.rows, model.num_ws)
    return f"{direction.name}: {direction.about or where}"
