"""One input file on its way: its name, where its bytes are, and what its source knows about it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from capriccio.data.archive import MAX_FILE_BYTES
from capriccio.data.building.report import Entry
from capriccio.data.pictures import PictureError


class Content(Protocol):
    """The bytes of a file; small enough to be sent to another process, which reads them there."""

    def read(self, limit: int = -1) -> bytes:
        """Return the bytes, or the first ``limit``. Raises: PictureError."""
        ...


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file on disk."""

    path: Path

    def read(self, limit: int = -1) -> bytes:
        """Return the bytes, or the first ``limit``."""
        try:
            with open(self.path, "rb") as file:
                if limit < 0 and (size := file.seek(0, 2)) > MAX_FILE_BYTES:
                    raise PictureError(f"holds {size:,} bytes, too many for a picture")
                file.seek(0)
                return file.read(limit)
        except OSError as error:
            raise PictureError(f"cannot be read ({error.strerror})") from error


@dataclass(frozen=True, slots=True)
class ZipContent:
    """A member of a zip archive."""

    path: Path
    member: str

    def read(self, limit: int = -1) -> bytes:
        """Return the bytes, or the first ``limit``."""
        try:
            archive = _opened_zip(self.path)
            info = archive.getinfo(self.member)
            if limit < 0 and info.file_size > MAX_FILE_BYTES:
                raise PictureError(f"would unpack to {info.file_size:,} bytes, too many for a picture")
            with archive.open(info) as file:
                return file.read(limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise PictureError(f"cannot be read from the archive ({error})") from error


@dataclass(frozen=True, slots=True)
class HeldContent:
    """Bytes already in memory, as of a stream."""

    data: bytes

    def read(self, limit: int = -1) -> bytes:
        """Return the bytes, or the first ``limit``."""
        return self.data if limit < 0 else self.data[:limit]


@dataclass(frozen=True, slots=True)
class Item:
    """A file that may hold a picture."""

    name: str
    """Relative to its source, with forward slashes; the address of a file from the web."""
    content: Content
    label: Any = None
    """What the source itself says: a class index, a class name or a list of numbers; None = nothing."""
    licence: str | None = None
    """Of this picture, where the source says."""


class Source(Protocol):
    """Where pictures come from."""

    name: str
    """Short name, for the report."""

    @property
    def names(self) -> Sequence[str] | None:
        """All files, where they are known before reading; None for streams."""
        ...

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield every file once, in a fixed order: to be looked into, or left out at sight."""
        ...


@lru_cache(maxsize=4)
def _opened_zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
