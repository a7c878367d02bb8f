"""From photographs of any size and kind to a training archive."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from capriccio.config import ImageShape
from capriccio.data.archive import PictureFiles, is_hidden, open_files
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.pictures import PictureError, centre_crop, decode_rgb, read_header
from capriccio.data.progress import Progress
from capriccio.data.writer import EncodedPicture, ImageFormat, encode, writing_archive
from capriccio.errors import DatasetError

_THREADS = 4
_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out."""

    name: str
    """Relative to the source."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What became of the files of a source."""

    dest: Path
    count: int
    """Pictures in the archive."""
    height: int
    width: int
    skipped: tuple[Skipped, ...]

    def __str__(self) -> str:
        left_out = f", {len(self.skipped)} files left out" if self.skipped else ""
        return f"{self.count} pictures of {self.height}×{self.width} in '{self.dest}'{left_out}"


def build_dataset(
    source: str | Path,
    dest: str | Path,
    *,
    size: tuple[int, int],
    image_format: ImageFormat = "webp",
    licence: str = LICENCE_NOT_STATED,
    progress: Progress | None = None,
) -> BuildReport:
    """Cut and reduce every photograph of a folder or zip to one size and store them in a training archive.

    Each is turned upright, converted to 8-bit RGB (transparency on white), cut to the aspect of ``size`` around its
    centre and reduced with an antialiased Lanczos filter; none is enlarged. What cannot be used is left out and listed.

    Args:
        source: folder or zip of photographs; read only.
        dest: archive to write, ending in .zip; replaced whole when all is done.
        size: (height, width) of the pictures in the archive.
        image_format: how pictures are stored; webp and png are lossless.
        licence: of the photographs, for ``dataset.json``.
        progress: called with (done, total).

    Raises: DatasetError if no picture can be used; ConfigError for a size no network can have; StorageError if
    ``dest`` cannot be written.
    """
    source, dest = Path(source), Path(dest)
    if dest.suffix.lower() != ".zip":
        raise DatasetError(f"'{dest}' must end in .zip: a data set is one archive.")
    shape = ImageShape(channels=3, height=size[0], width=size[1])
    files = open_files(source)
    skipped = [Skipped(name, "hidden" if is_hidden(name) else "not a picture by its name") for name in files.others]
    with writing_archive(dest, size=size, image_format=image_format, licence=licence) as (writer, facts):
        outcomes = _prepared(files, (shape.height, shape.width), image_format)
        for done, (name, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            else:
                writer.add(outcome, source=name)
            if progress is not None:
                progress(done, len(files.names))
        if len(writer) == 0:
            first = next(item for item in skipped if item.name in files.names)
            raise DatasetError(
                f"'{source}' holds no usable picture: all {len(files.names)} were left out, the first, "
                f"'{first.name}', because it {first.reason}."
            )
        facts["skipped"] = [[item.name, item.reason] for item in skipped]
        return BuildReport(dest=dest, count=len(writer), height=size[0], width=size[1], skipped=tuple(skipped))


def _prepared(
    files: PictureFiles, size: tuple[int, int], image_format: ImageFormat
) -> Iterator[tuple[str, EncodedPicture | Skipped]]:
    """Yield every picture in order, prepared by a few threads that never run far ahead of the writer."""

    def prepare(name: str) -> EncodedPicture | Skipped:
        try:
            return prepare_picture(files.read(name), size, image_format)
        except DatasetError as error:
            return Skipped(name, str(error))

    names = iter(files.names)
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(islice(names, _AHEAD)):
            yield from zip(batch, pool.map(prepare, batch), strict=True)


def prepare_picture(data: bytes, size: tuple[int, int], image_format: ImageFormat = "webp") -> EncodedPicture:
    """Return one photograph cut and reduced to ``size`` (height, width). Raises: PictureError if it cannot be used."""
    header = read_header(data)
    height, width = header.size
    if height < size[0] or width < size[1]:
        raise PictureError(f"is too small: {height}×{width}, needed at least {size[0]}×{size[1]}")
    return encode(centre_crop(decode_rgb(data, size), size), image_format)
