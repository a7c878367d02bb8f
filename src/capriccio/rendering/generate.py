"""Generate pictures from seeds or stored latents, thousands at once in the memory of one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from capriccio.errors import UsageError
from capriccio.provenance import PictureFormat, Provenance
from capriccio.rendering.grids import MAX_SHEET_PIXELS, Sheet, near_square, to_picture, to_uint8
from capriccio.rendering.pictures import save_picture
from capriccio.rendering.sources import LatentSource, Look, Progress, Source, open_source, provenance_of

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
    return _paint(model, source, request)


def save_generated(
    model: Model, request: GenerateRequest, files: PictureFiles, progress: Progress | None = None
) -> list[Path]:
    """Generate pictures into a folder and return the files written, single pictures first, then grids.

    A file that exists under the same name is replaced, each at one moment.

    Raises: UsageError if the request does not fit the model; StorageError if the disk does not take the files.
    """
    source = open_source(model, request.source, request.look)
    ending = "jpg" if files.file_format == "jpeg" else files.file_format
    pages = _Pages(model, source, request.look, files, ending) if files.grid else None
    singles: dict[Path, None] = {}
    for picture in _paint(model, source, request):
        if files.singles:
            path = files.folder / f"{picture.stem}.{ending}"
            singles[save_picture(path, picture.image, picture.provenance, quality=files.quality)] = None
        if pages:
            pages.put(picture.index, picture.image)
        if progress:
            progress(picture.index + 1, len(source))
    return [*singles, *(pages.written if pages else ())]


def paint(model: Model, source: LatentSource, look: Look, start: int, stop: int) -> list[Image.Image]:
    """Return pictures ``start`` … ``stop`` − 1 of a source, painted in one batch."""
    seeds = [source.noise_seed(i) for i in range(start, stop)] if look.noise_mode == "random" else None
    maps = source.noise_maps(start, stop) if look.noise_mode == "const" else None
    images = model.images(source.ws(start, stop), noise_mode=look.noise_mode, noise_seeds=seeds, noise_maps=maps)
    return [to_picture(pixels) for pixels in to_uint8(images)]


def _paint(model: Model, source: LatentSource, request: GenerateRequest) -> Iterator[GeneratedPicture]:
    for start in range(0, len(source), request.batch):
        stop = min(start + request.batch, len(source))
        for index, image in enumerate(paint(model, source, request.look, start, stop), start):
            provenance = provenance_of(model, request.look, source, index, index + 1)
            yield GeneratedPicture(index=index, stem=source.stem(index), image=image, provenance=provenance)


class _Pages:
    """The grid, page after page; one page is in memory."""

    def __init__(self, model: Model, source: LatentSource, look: Look, files: PictureFiles, ending: str) -> None:
        self.model, self.source, self.look, self.files, self.ending = model, source, look, files, ending
        self.written: list[Path] = []
        self._sheet: Sheet | None = None
        self._start = self._stop = 0

    def put(self, index: int, picture: Image.Image) -> None:
        if self._sheet is None:
            cell_size = picture.height, picture.width
            room = min(MAX_GRID_CELLS, max(1, MAX_SHEET_PIXELS // (2 * cell_size[0] * cell_size[1])))
            self._start, self._stop = index, min(index + room, len(self.source))
            self._sheet = Sheet(*near_square(self._stop - index, cell_size), cell_size, picture.mode)
        self._sheet.put(index - self._start, picture)
        if index + 1 == self._stop:
            name = f"grid-{len(self.written) + 1}" if self.written else "grid"
            provenance = provenance_of(self.model, self.look, self.source, self._start, self._stop, kind="grid")
            path = self.files.folder / f"{name}.{self.ending}"
            self.written.append(save_picture(path, self._sheet.image, provenance, quality=self.files.quality))
            self._sheet = None
