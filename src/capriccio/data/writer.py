"""Writing an archive: one uncompressed zip of pictures and ``dataset.json``, complete or absent."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from capriccio.data.archive import INDEX_NAME
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.fingerprints import digest
from capriccio.data.pictures import decode
from capriccio.durable import replacing

ImageFormat = Literal["webp", "png", "jpeg"]

ARCHIVE_VERSION = 1
"""Version of our keys in ``dataset.json``."""

PICTURES_PER_FOLDER = 1000
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: archives of equal content are equal files

_SUFFIX = {"webp": "webp", "png": "png", "jpeg": "jpg"}
_OPTIONS: dict[ImageFormat, dict[str, Any]] = {
    "webp": {"lossless": True, "quality": 40, "method": 1},
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
    _pictures: list[dict[str, Any]] = field(default_factory=list)
    _labels: list[tuple[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of pictures stored so far."""
        return len(self._pictures)

    def add(self, picture: EncodedPicture, *, source: str = "", label: Any = None) -> None:
        """Store a picture under the next name; ``source`` says where it came from, relative to its folder."""
        count = len(self)
        name = f"{count // PICTURES_PER_FOLDER:05d}/img{count:08d}.{_SUFFIX[self._image_format]}"
        self._store(name, picture.data)
        self._pictures.append({"name": name, "sha256": picture.sha256} | ({"source": source} if source else {}))
        if label is not None:
            self._labels.append((name, label))

    def finish(self, facts: dict[str, Any]) -> None:
        """Store ``dataset.json``: the labels when every picture has one, our facts, and a line per picture."""
        labels = self._labels if self._labels and len(self._labels) == len(self) else None
        index = {"labels": labels, "version": ARCHIVE_VERSION, **facts, "count": len(self), "pictures": self._pictures}
        self._store(INDEX_NAME, json.dumps(index, ensure_ascii=False, indent=0).encode())

    def _store(self, name: str, data: bytes) -> None:
        info = zipfile.ZipInfo(name, date_time=_EPOCH)
        info.external_attr = 0o644 << 16
        self._zip.writestr(info, data)


@contextmanager
def writing_archive(
    dest: Path, *, size: tuple[int, int], image_format: ImageFormat = "webp", licence: str = LICENCE_NOT_STATED
) -> Iterator[tuple[ArchiveWriter, dict[str, Any]]]:
    """Write an archive that appears under ``dest`` when the block ends without error.

    Yields: the writer, and a dictionary of facts for ``dataset.json`` that the block may add to.
    """
    facts: dict[str, Any] = {"licence": licence, "height": size[0], "width": size[1]}
    with replacing(dest) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        writer = ArchiveWriter(archive, image_format)
        yield writer, facts
        writer.finish(facts)


def encode(image: Image.Image, image_format: ImageFormat = "webp") -> EncodedPicture:
    """Encode a picture for the archive; webp and png keep every bit."""
    buffer = io.BytesIO()
    image.save(buffer, image_format.upper(), **_OPTIONS[image_format])
    data = buffer.getvalue()
    return EncodedPicture(data=data, sha256=digest(decode(data)).tobytes().hex())
