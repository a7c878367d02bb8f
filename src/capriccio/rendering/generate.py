"""Generate pictures from seeds or stored latents, thousands at once in the memory of one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from capriccio.errors import UsageError
from capriccio.processes import Processes
from capriccio.progress import Progress
from capriccio.provenance import PictureFormat, Provenance
from capriccio.rendering.grids import MAX_SHEET_PIXELS, Sheet, near_square, picture_size, pictures_of
from capriccio.rendering.look import Look
from capriccio.rendering.pictures import ending_of, save_picture
from capriccio.rendering.sources import LatentSource, Source, open_source, provenance_of

if TYPE_CHECKING:
    from capriccio.loading.model import Model

MAX_GRID_CELLS = 1024
"""Pictures on one grid; more go on to the next page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """Which pictures."""

    source: Source
    """Seeds, a latents file, or latents."""
    look: Look = field(default_factory=Look)
    """How seeds become pictures."""
    batch: int = 16
    """Pictures the network paints at once; changes speed and memory, not the pictures."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UsageError(f"batch must be at least 1, got {self.batch}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFiles:
    """Which files a job leaves in a folder."""

    folder: Path
    """Where; made when it is missing."""
    file_format: PictureFormat = "png"
    """Format of the files."""
    quality: int = 90
    """Quality of lossy formats, 1..100."""
    singles: bool = True
    """One file per picture: seed0042.png."""
    grid: bool = True
    """All pictures on one sheet, grid.png; a sheet that is full is followed by grid-2.png and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedPicture:
    """One picture and what made it."""

    index: int
    """Position in the request."""
    stem: str
    """File name without ending: "seed0042"."""
    image: Image.Image
    """The picture."""
    provenance: Provenance
    """What made it."""


def generate(model: Model, request: GenerateRequest) -> Iterator[GeneratedPicture]:
    """Yield the pictures of ``request`` in its order; only one batch is in memory.

    Raises: UsageError if the request does not fit the model, before anything is painted.
    """
    source = open_source(model, request.source, request.look)
    return _paint(model, source, request, 0, len(source))


def save_generated(
    model: Model,
    request: GenerateRequest,
    files: PictureFiles,
    progress: Progress | None = None,
    processes: Processes | None = None,
) -> list[Path]:
    """Generate pictures into a folder and return the files of all processes, single pictures first, then grids.

    A file that exists under the same name is replaced, each at one moment. Several processes share the work without a
    word to each other: each paints grid after grid, or batch after batch where there are no grids, as its turn comes.

    Args:
        model: the network.
        request: which pictures.
        files: which files are left.
        progress: called with (done, total) of the pictures of this process.
        processes: those that share the work; None = this one does it all.

    Raises: UsageError if the request does not fit the model; StorageError if the disk does not take the files.
    """
    processes = processes or Processes()
    source = open_source(model, request.source, request.look)
    ending = ending_of(files.file_format)
    cell = picture_size(model.channels, model.size)
    length = min(MAX_GRID_CELLS, max(1, MAX_SHEET_PIXELS // (2 * cell[0] * cell[1]))) if files.grid else request.batch
    parts = [(start, min(start + length, len(source))) for start in range(0, len(source), length)]
    mine = list(enumerate(parts))[processes.rank :: processes.world_size]
    done, total = 0, sum(stop - start for _, (start, stop) in mine)
    for number, (start, stop) in mine:
        sheet: Sheet | None = None
        for picture in _paint(model, source, request, start, stop):
            if files.singles:
                path = files.folder / f"{picture.stem}.{ending}"
                save_picture(path, picture.image, picture.provenance, quality=files.quality)
            if files.grid:
                sheet = sheet or Sheet(*near_square(stop - start, cell), cell, picture.image.mode)
                sheet.put(picture.index - start, picture.image)
            done += 1
            if progress:
                progress(done, total)
        if sheet is not None:
            provenance = provenance_of(model, request.look, source, start, stop, kind="grid")
            save_picture(_grid(files, ending, number), sheet.image, provenance, quality=files.quality)
    singles = [files.folder / f"{source.stem(index)}.{ending}" for index in range(len(source))] if files.singles else []
    grids = [_grid(files, ending, number) for number in range(len(parts))] if files.grid else []
    return [*dict.fromkeys(singles), *grids]


def _grid(files: PictureFiles, ending: str, number: int) -> Path:
    return files.folder / f"grid{f'-{number + 1}' if number else ''}.{ending}"


def paint(model: Model, source: LatentSource, look: Look, start: int, stop: int) -> list[Image.Image]:
    """Return pictures ``start`` … ``stop`` − 1 of a source, painted in one batch."""
    seeds = [source.noise_seed(i) for i in range(start, stop)] if look.noise_mode == "random" else None
    maps = source.noise_maps(start, stop) if look.noise_mode == "const" else None
    images = model.images(source.ws(start, stop), noise_mode=look.noise_mode, noise_seeds=seeds, noise_maps=maps)
    return pictures_of(images)


def _paint(
    model: Model, source: LatentSource, request: GenerateRequest, first: int, last: int
) -> Iterator[GeneratedPicture]:
    """Yield pictures ``first`` … ``last`` − 1, batch by batch."""
    for start in range(first, last, request.batch):
        stop = min(start + request.batch, last)
        for index, image in enumerate(paint(model, source, request.look, start, stop), start):
            provenance = provenance_of(model, request.look, source, index, index + 1)
            yield GeneratedPicture(index=index, stem=source.stem(index), image=image, provenance=provenance)
