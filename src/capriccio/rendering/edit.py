"""Edited pictures: latents moved along directions, painted before and after, and kept as a latents file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.latent.directions import Change, Direction, Directions, check_strength, move, rows_named
from capriccio.latent.files import Latents, save_latents
from capriccio.latent.mixing import Layers, describe_rows
from capriccio.progress import Progress
from capriccio.provenance import PictureFormat
from capriccio.rendering.generate import paint
from capriccio.rendering.grids import Table, enlarge, picture_size, scale_to_reach
from capriccio.rendering.look import Look
from capriccio.rendering.mix import READABLE_SIDE
from capriccio.rendering.pictures import ending_of, save_picture
from capriccio.rendering.sources import (
    LatentSource,
    Source,
    StoredLatents,
    open_source,
    provenance_of,
)
from capriccio.rendering.tuned_sources import TUNING_FILE

if TYPE_CHECKING:
    from capriccio.loading.model import Model

MAX_SHEET_ROWS = 64
"""Pictures on the sheet of before and after; more have their single files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A direction, how far, and where."""

    direction: Direction
    """Along what."""
    strength: float
    """Steps; negative = back."""
    layers: Layers | None = None
    """Rows that move; None = the direction's own."""

    def __post_init__(self) -> None:
        check_strength(self.direction.name, self.strength)

    def text(self, num_ws: int) -> str:
        """Return "snow +2", with the layers where they are not the direction's own."""
        told = f"{self.direction.name} {self.strength:+g}"
        if self.layers is None:
            return told
        return f"{told} ({'all' if self.layers == 'all' else describe_rows(rows_named(self.layers, num_ws), num_ws)})"


def moves_of(changes: Sequence[Change], directions: Directions) -> tuple[Move, ...]:
    """Return the moves along ``directions`` that are asked for. Raises: UsageError for a name that is not there."""
    return tuple(Move(direction=directions[c.name], strength=c.strength, layers=c.layers) for c in changes)


@dataclass(frozen=True, slots=True)
class EditedLatents:
    """Latents of another source, moved."""

    source: LatentSource
    moves: tuple[Move, ...]

    def __len__(self) -> int:
        return len(self.source)

    def ws(self, start: int, stop: int) -> Tensor:
        """Return the source's latents after all moves."""
        ws = self.source.ws(start, stop)
        for one in self.moves:
            ws = move(ws, one.direction, one.strength, one.layers)
        return ws

    def noise_maps(self, start: int, stop: int) -> dict[str, Tensor]:
        """Return the source's."""
        return self.source.noise_maps(start, stop)

    def label(self, index: int) -> str:
        """Return the source's label."""
        return self.source.label(index)

    def stem(self, index: int) -> str:
        """Return the source's stem."""
        return self.source.stem(index)

    def noise_seed(self, index: int) -> int:
        """Return the source's: an edit changes nothing but what it says."""
        return self.source.noise_seed(index)

    def seeds(self, start: int, stop: int) -> tuple[int, ...]:
        """Return the source's seeds."""
        return self.source.seeds(start, stop)

    def names(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the source's names."""
        return self.source.names(start, stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """Which pictures, and what is done to them."""

    source: Source
    """Seeds, a latents file, or latents."""
    moves: tuple[Move, ...]
    """Applied together; their order does not matter."""
    look: Look = field(default_factory=Look)
    """How seeds become pictures."""
    batch: int = 16
    """Pictures the network paints at once."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError(f"batch must be at least 1, got {self.batch}.")
        if not self.moves:
            raise UsageError("nothing is to be changed: name a direction and a strength, like snow=2.")


def save_edited(
    model: Model,
    request: EditRequest,
    folder: Path,
    *,
    file_format: PictureFormat = "png",
    quality: int = 90,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the edited pictures, ``edited.safetensors`` with their latents, and ``sheet.png`` with before and after.

    Returns: the files, single pictures first, then latents and sheet.
    Raises: UsageError if source, moves or layers do not fit the model, before anything is written.
    """
    source = open_source(model, request.source, request.look)
    edited = EditedLatents(source, request.moves)
    edited.ws(0, 1)  # a move that does not fit is said before anything is written
    told = tuple(one.text(model.num_ws) for one in request.moves)
    table = _table(model, source, told)
    ending = ending_of(file_format)
    written: dict[Path, None] = {}
    kept = []
    for start in range(0, len(source), request.batch):
        stop = min(start + request.batch, len(source))
        kept.append(edited.ws(start, stop).cpu())
        after = paint(model, edited, request.look, start, stop)
        before = paint(model, source, request.look, start, min(stop, max(start, MAX_SHEET_ROWS)))
        for index, picture in enumerate(after, start):
            record = replace(provenance_of(model, request.look, source, index, index + 1, kind="edit"), edits=told)
            path = folder / f"{source.stem(index)}.{ending}"
            written[save_picture(path, picture, record, quality=quality)] = None
            if index < MAX_SHEET_ROWS:
                table.put(index, -1, enlarge(before[index - start], _scale(model)))
                table.put(index, 0, enlarge(picture, _scale(model)))
        if progress:
            progress(stop, len(source))
    whole = replace(provenance_of(model, request.look, source, 0, len(source), kind="edit"), edits=told)
    latents = Latents(
        ws=torch.cat(kept),
        noise=source.latents.noise if isinstance(source, StoredLatents) else {},
        names=tuple(source.label(i) for i in range(len(source))),
        provenance=whole,
    )
    if model.tuning is not None:
        model.tuning.save(folder / TUNING_FILE)  # so that the edited latents are painted by this network again
    return [
        *written,
        save_latents(folder / "edited.safetensors", latents),
        save_picture(folder / "sheet.png", table.image, whole),
    ]


def _scale(model: Model) -> int:
    return scale_to_reach(READABLE_SIDE, model.size)


def _table(model: Model, source: LatentSource, told: tuple[str, ...]) -> Table:
    height, width = picture_size(model.channels, model.size)
    scale = _scale(model)
    return Table(
        [source.label(i) for i in range(min(len(source), MAX_SHEET_ROWS))],
        ["edited"],
        (height * scale, width * scale),
        title=f"Before and after: {', '.join(told)}",
        column_sources=False,
    )
