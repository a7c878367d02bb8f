"""Where pictures lie: one zip archive or one folder, read the same way."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from capriccio.errors import DatasetError
from capriccio.wording import counted

INDEX_NAME = "dataset.json"
"""Member that holds the labels and what is known about the set."""

IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .webp .bmp .gif .tif .tiff .ppm .pgm .pnm .avif".split()  # noqa: SIM905 - readable
)
"""What counts as a picture, by its name. Formats that would start another program to decode are left out on purpose."""

MAX_FILE_BYTES = 1 << 30
"""A single picture file larger than this is refused before it is read."""


class PictureFiles(Protocol):
    """The files of a data set."""

    path: Path
    """The archive or folder."""
    names: tuple[str, ...]
    """Relative names of the pictures with forward slashes, sorted as strings: the reading order."""
    others: tuple[str, ...]
    """Relative names of everything else, sorted."""

    def read(self, name: str) -> bytes:
        """Return the bytes of one file. Raises: DatasetError naming it."""
        ...

    def fingerprint(self) -> str:
        """Return a hash that changes when a file changes, made without reading the files."""
        ...


class ZipFiles:
    """Files of a zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise DatasetError(
                f"'{path}' is not a readable zip archive ({error}); it may be cut off: copy or build it again."
            ) from error
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        self.names, self.others = _sorted_names(self._members)

    def read(self, name: str) -> bytes:
        """Return the bytes of one member."""
        if (size := self._members[name].file_size) > MAX_FILE_BYTES:
            raise DatasetError(f"'{self.path}': '{name}' would unpack to {size:,} bytes, too many for a picture.")
        try:
            with self._zip.open(name) as file:
                # As much as the directory states, and no more: without a size all that it unpacks to would be made.
                return file.read(size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise DatasetError(f"'{self.path}': '{name}' cannot be read ({error}); the archive is damaged.") from error

    def fingerprint(self) -> str:
        """Hash names, sizes and the archive's own checksums."""
        lines = ((name, info.file_size, info.CRC) for name, info in sorted(self._members.items()))
        return _hash_lines(lines)


class FolderFiles:
    """Files of a folder and its subfolders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = (Path(folder, file) for folder, _, files in os.walk(path) for file in files)
        self._files = {file.relative_to(path).as_posix(): file for file in found}
        self.names, self.others = _sorted_names(self._files)

    def read(self, name: str) -> bytes:
        """Return the bytes of one file."""
        file = self._files[name]
        try:
            if (size := file.stat().st_size) > MAX_FILE_BYTES:
                raise DatasetError(f"'{file}' holds {size:,} bytes, too many for a picture.")
            return file.read_bytes()
        except OSError as error:
            raise DatasetError(f"'{file}' cannot be read ({error.strerror}).") from error

    def fingerprint(self) -> str:
        """Hash names, sizes and times of change."""
        stats = ((name, file.stat()) for name, file in sorted(self._files.items()))
        return _hash_lines((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def open_files(path: Path) -> PictureFiles:
    """Open a zip archive or a folder of pictures.

    Raises: DatasetError if there is nothing, something else, or no picture.
    """
    if not path.exists():
        raise DatasetError(f"'{path}' does not exist; give a folder of pictures or a .zip archive.")
    if path.is_dir():
        files: PictureFiles = FolderFiles(path)
    elif path.suffix.lower() == ".zip":
        files = ZipFiles(path)
    else:
        raise DatasetError(f"'{path}' is neither a folder nor a .zip archive.")
    if not files.names:
        empty = "is empty" if not files.others else f"holds {counted(len(files.others), 'file')}, but no picture"
        raise DatasetError(f"'{path}' {empty}; pictures end in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return files


def read_index(files: PictureFiles) -> dict[str, Any]:
    """Return the contents of ``dataset.json``, or an empty dictionary when there is none."""
    if INDEX_NAME not in files.others:
        return {}
    try:
        index = json.loads(files.read(INDEX_NAME))
    except ValueError as error:
        raise DatasetError(f"'{files.path}': {INDEX_NAME} is not valid JSON ({error}).") from error
    if not isinstance(index, dict):
        raise DatasetError(f"'{files.path}': {INDEX_NAME} must hold a JSON object, got {type(index).__name__}.")
    return index


def is_hidden(name: str) -> bool:
    """Whether a file is litter of the operating system or was hidden by its owner."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_picture(name: str) -> bool:
    """Whether a file counts as a picture: a known ending, and not hidden."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def _sorted_names(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide names into pictures and everything else, both sorted as strings."""
    everything = set(names)
    pictures = {name for name in everything if is_picture(name)}
    return tuple(sorted(pictures)), tuple(sorted(everything - pictures))


def _hash_lines(lines: Iterable[tuple[str, int, int]]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()
