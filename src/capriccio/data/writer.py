"""Writing an archive: one uncompressed zip of pictures and ``dataset.json``, complete or absent."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from PIL import Image

from capriccio.data.archive import INDEX_NAME, ZipFiles
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.fingerprints import digest
from capriccio.data.pictures import as_pixels, decode
from capriccio.durable import replacing

ImageFormat = Literal["webp", "png", "jpeg"]

ARCHIVE_VERSION = 1
"""Version of our keys in ``dataset.json``."""

PICTURES_PER_FOLDER = 1000
_ZIP64_FROM = 1 << 30
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: archives of equal content are equal files

_SUFFIX = {"webp": "webp", "png": "png", "jpeg": "jpg"}
_OPTIONS: dict[ImageFormat, dict[str, Any]] = {
    "webp": {"lossless": True, "quality": 0, "method": 0},  # a fifth of the default's time, 7 % larger
    "png": {"compress_level": 1},
    "jpeg": {"quality": 95, "subsampling": 0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPicture:
    """One picture ready to be stored."""

    data: bytes
    """The encoded file."""
    sha256: str
    """Content hash of the pixels that the file decodes to, hexadecimal."""


@dataclass(slots=True)
class ArchiveWriter:
    """Collects pictures; made by :func:`writing_archive`."""

    _zip: zipfile.ZipFile
    _image_format: ImageFormat
    _lines: IO[bytes]
    """One JSON object per picture, on disk until the end: so memory hardly grows with the archive."""
    _count: int = 0
    _labels: list[tuple[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of pictures stored so far."""
        return self._count

    def add(
        self, picture: EncodedPicture, *, source: str = "", label: Any = None, facts: Mapping[str, Any] | None = None
    ) -> str:
        """Store a picture under the next name and return that.

        Args:
            picture: the picture.
            source: where it came from, relative to its folder.
            label: class index, class name or list of numbers; None = none.
            facts: what else the line about it in ``dataset.json`` shall say.
        """
        count = len(self)
        name = f"{count // PICTURES_PER_FOLDER:05d}/img{count:08d}.{_SUFFIX[self._image_format]}"
        self._store(name, picture.data)
        line = {"name": name, "sha256": picture.sha256} | ({"source": source} if source else {}) | dict(facts or {})
        self._tell(line)
        if label is not None:
            self._labels.append((name, label))
        return name

    def copy_from(self, files: ZipFiles, index: Mapping[str, Any]) -> None:
        """Store every picture of an older archive first, under its name and with its line and label.

        Raises: DatasetError naming a picture whose checksum is wrong: damage is not carried on.
        """
        lines = {line["name"]: line for line in index["pictures"]}
        for name in files.names:
            self._store(name, files.read(name))
            self._tell(lines[name])
        self._labels += [(name, label) for name, label in index.get("labels") or []]

    def finish(self, facts: Mapping[str, Any], class_names: Sequence[str] = ()) -> None:
        """Store ``dataset.json``: the labels when every picture has one, our facts, and a line per picture.

        Labels that are names become numbers: first those of ``class_names``, then the others in alphabetical order.
        """
        labels = self._labels if self._labels and len(self._labels) == len(self) else None
        names = [*class_names, *sorted({label for _, label in labels or () if isinstance(label, str)} - {*class_names})]
        if labels and names:
            numbers = {name: number for number, name in enumerate(names)}
            labels = [(name, numbers[label] if isinstance(label, str) else label) for name, label in labels]
        known = {"class_names": names} if labels and names else {}
        index = _json({"labels": labels, "version": ARCHIVE_VERSION, **facts, **known, "count": len(self)}, indent=0)
        with self._zip.open(_member(INDEX_NAME), "w", force_zip64=self._lines.seek(0, 2) > _ZIP64_FROM) as file:
            file.write(index.removesuffix(b"\n}") + b',\n"pictures": [\n')
            self._lines.seek(0)
            shutil.copyfileobj(self._lines, file)
            file.write(b"\n]\n}")

    def _tell(self, line: Mapping[str, Any]) -> None:
        self._lines.write((b",\n" if self._count else b"") + _json(line))
        self._count += 1

    def _store(self, name: str, data: bytes) -> None:
        self._zip.writestr(_member(name), data)


@contextmanager
def writing_archive(
    dest: Path, *, size: tuple[int, int], image_format: ImageFormat = "webp", licence: str = LICENCE_NOT_STATED
) -> Iterator[tuple[ArchiveWriter, dict[str, Any]]]:
    """Write an archive that appears under ``dest`` when the block ends without error.

    Yields: the writer, and a dictionary of facts for ``dataset.json`` that the block may add to; ``class_names`` among
    them are the numbers that names of classes already have.
    """
    facts: dict[str, Any] = {"licence": licence, "height": size[0], "width": size[1]}
    with (
        replacing(dest) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        tempfile.TemporaryFile() as lines,
    ):
        writer = ArchiveWriter(archive, image_format, lines)
        yield writer, facts
        writer.finish(facts, facts.pop("class_names", ()))


def encode(image: Image.Image, image_format: ImageFormat = "webp") -> EncodedPicture:
    """Encode a picture for the archive; png keeps every bit of grey, RGB and RGBA, webp of RGB."""
    buffer = io.BytesIO()
    image.save(buffer, image_format.upper(), **_OPTIONS[image_format])
    data = buffer.getvalue()
    pixels = decode(data) if image_format == "jpeg" else as_pixels(image)
    return EncodedPicture(data=data, sha256=digest(pixels).tobytes().hex())


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.external_attr = 0o644 << 16
    return info


def _json(value: Any, indent: int | None = None) -> bytes:
    # File names may hold bytes that are no UTF-8; they come back as they are.
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "surrogateescape")
