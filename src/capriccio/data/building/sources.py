"""Where pictures come from: folders, zips, shards, lists of addresses, the classic archives, single files."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from capriccio.data.archive import INDEX_NAME, FolderFiles, PictureFiles, ZipFiles, is_hidden, read_index
from capriccio.data.building.classics import CifarSource, MnistSource, is_cifar, is_mnist
from capriccio.data.building.copies import find_copies
from capriccio.data.building.items import Content, FileContent, HeldContent, Item, Source, ZipContent
from capriccio.data.building.report import Entry, Status
from capriccio.data.building.urls import LIST_SUFFIXES, UrlListSource
from capriccio.data.shards import SHARD_SUFFIXES, expand_braces, is_shard, is_url, read_shard
from capriccio.errors import DatasetError

_LMDB = "data.mdb"
_ARCHIVES = (".zip", *SHARD_SUFFIXES)
_SIDECARS = (".cls", ".json", ".txt", ".yaml", ".npy")


def open_sources(texts: Sequence[str]) -> list[Source]:
    """Return the sources that paths and addresses name; a brace as in ``set-{000..012}.tar`` names several.

    Raises: DatasetError for what is not there or of no known kind.
    """
    names = [name for text in texts for name in (expand_braces(text) if is_shard(text) else [text])]
    return [open_source(name) for name in names]


def open_source(text: str) -> Source:
    """Return the source that one path or address names. Raises: DatasetError."""
    if is_url(text):
        if not is_shard(text):
            raise DatasetError(
                f"'{text}' is not a tar shard; put the addresses of single pictures into a text file, one a line."
            )
        return ShardSource(text)
    path = Path(text)
    if not path.exists():
        raise DatasetError(f"'{text}' does not exist; give a folder, a zip, a tar shard or a list of addresses.")
    if path.is_dir():
        mnist = sorted(file for file in path.iterdir() if is_mnist(file) and file.name.startswith("train"))
        return MnistSource(mnist[0]) if mnist else FolderSource(path)
    if is_mnist(path):
        return MnistSource(path)
    if is_shard(text):
        return CifarSource(path) if is_cifar(path) else ShardSource(text)
    if path.suffix.lower() == ".zip":
        return ZipSource(path)
    if path.suffix.lower() in LIST_SUFFIXES:
        return UrlListSource(path)
    return FileSource(path)


class FolderSource:
    """A folder with everything below it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.resolve().name
        self._unreadable: list[str] = []
        found = os.walk(path, onerror=lambda error: self._unreadable.append(str(error.filename)))
        files = (Path(folder, file) for folder, _, files in found for file in files)
        self.names = sorted(file.relative_to(path).as_posix() for file in files)
        self._labels = _own_labels(FolderFiles(path)) if INDEX_NAME in self.names else {}

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield every file in the order of the names."""
        for folder in self._unreadable:
            yield Entry(Path(folder).relative_to(self.path).as_posix(), "unreadable", "is a folder that cannot be read")
        refused: dict[str, tuple[Status, str]] = {}
        sizes = {}
        for name in self.names:
            if (why := _refused_by_name(name)) is not None:
                refused[name] = why
            elif (size := _regular_size(self.path / name)) is None:
                refused[name] = "unreadable", "is a link to nothing, or no regular file"
            elif size:
                sizes[name] = size
        yield from _told_apart(self.names, refused, sizes, lambda name: FileContent(self.path / name), self._labels)


class ZipSource:
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.name = path.name
        try:
            with zipfile.ZipFile(path) as archive:
                members = [info for info in archive.infolist() if not info.is_dir()]
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise DatasetError(
                f"'{path}' is not a readable zip archive ({error}); it may be cut off: copy it again."
            ) from error
        self._checksums = {info.filename: (info.file_size, info.CRC) for info in members}
        self.names = sorted(self._checksums)
        self._labels = _own_labels(ZipFiles(path)) if INDEX_NAME in self.names else {}

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield every member in the order of the names."""
        refused = {name: why for name in self.names if (why := _refused_by_name(name)) is not None}
        checksums = {name: key for name, key in self._checksums.items() if name not in refused and key[0]}
        yield from _told_apart(self.names, refused, checksums, lambda name: ZipContent(self.path, name), self._labels)


class ShardSource:
    """A tar shard, on disk or behind an address."""

    names = None

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = address.split("?")[0].rstrip("/").rpartition("/")[2]

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield the picture of every sample; a shard that fails half-way gives what came before."""
        try:
            for sample in read_shard(self.address):
                picture = sample.picture
                for ending in sample.files:
                    name = sample.key + ending
                    if ending != picture:
                        sidecar = picture is not None and ending in _SIDECARS
                        reason = "belongs to a picture" if sidecar else "is not a picture by its name"
                        yield Entry(name, "not-an-image", reason)
                    elif (refused := _refused_by_name(name)) is not None:
                        yield Entry(name, *refused)
                    else:
                        yield self._item(name, HeldContent(sample.files[ending]), sample)
        except DatasetError as error:
            yield Entry(self.address, "unreadable", str(error))

    def _item(self, name: str, content: HeldContent, sample: Any) -> Item | Entry:
        try:
            return Item(name, content, sample.label)
        except DatasetError as error:
            return Entry(name, "unreadable", str(error))


class FileSource:
    """A single picture."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.names = (path.name,)

    def __iter__(self) -> Iterator[Item | Entry]:
        """Yield the file."""
        yield Item(self.path.name, FileContent(self.path))


def _told_apart(
    names: Sequence[str],
    refused: Mapping[str, tuple[Status, str]],
    keys: Mapping[str, Hashable],
    content: Callable[[str], Content],
    labels: Mapping[str, Any],
) -> Iterator[Item | Entry]:
    """Yield entries about files that are refused or copies of others, and items of the rest, in the order of names."""
    copies = find_copies(keys, content)
    for name in names:
        if name in refused:
            yield Entry(name, *refused[name])
        elif name in copies:
            original = copies[name]
            yield Entry(name, "duplicate", f"is byte for byte '{original}'", duplicate_of=original)
        else:
            yield Item(name, content(name), labels.get(name))


def _refused_by_name(name: str) -> tuple[Status, str] | None:
    """Return status and reason of what is left out without opening it."""
    last = name.rpartition("/")[2]
    if is_hidden(name):
        return "dropped", "hidden"
    if last == INDEX_NAME:
        return "not-an-image", "holds the labels of the others"
    if last == _LMDB:
        return "not-an-image", "is an LMDB database, as of LSUN; export its pictures to a folder and give that"
    if last.lower().endswith(_ARCHIVES):
        return "not-an-image", "is an archive inside a source; give it as a source of its own"
    return None


def _own_labels(files: PictureFiles) -> dict[str, Any]:
    """Return the labels in ``dataset.json``, by name; with names of classes where it has them."""
    index = read_index(files)
    entries, names = index.get("labels"), index.get("class_names")
    if not isinstance(entries, list) or not all(isinstance(entry, list) and len(entry) == 2 for entry in entries):
        return {}
    if isinstance(names, list):
        numbered = {number: str(name) for number, name in enumerate(names)}
        return {name: numbered.get(label, label) if isinstance(label, int) else label for name, label in entries}
    return dict(entries)


def _regular_size(path: Path) -> int | None:
    """Return the size of a file that can be read to its end; None for a pipe, a device or a link to nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
