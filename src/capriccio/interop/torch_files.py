"""Files of ``torch.save`` without ``torch.load``: the archive of today, and the stream of versions before 1.6.

The stream is five pickles (a magic number, a version, facts of the machine, the object, the keys of its storages) and
then, for every key, a count and the numbers; a storage inside a network pickle is such a stream, too.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from capriccio.errors import SnapshotError
from capriccio.interop.pickle_reader import Named, unpickle
from capriccio.interop.pickle_records import ALLOWED, STORAGE_TYPES, StorageRecord

MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001

MAX_DIRECTORY_BYTES = 4 * 2**20
"""Longest table of contents of an archive; a network has a few hundred entries of less than 100 bytes."""


_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of members by which an archive is known for a data set."""

_DAMAGED = (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error, OverflowError, EOFError)


class _Storages:
    """Storages by key, as persistent ids introduce them."""

    def __init__(self, place: Callable[[str, int], memoryview | None]) -> None:
        self.by_key: dict[str, StorageRecord] = {}
        self.place = place

    def __call__(self, reference: Any) -> StorageRecord:
        if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
            raise SnapshotError("it is damaged: a reference to something that is no storage.")
        kind, key, count = reference[1], reference[2], reference[4]
        name = kind.name.removeprefix("torch.") if isinstance(kind, Named) else ""
        if name not in STORAGE_TYPES or not isinstance(key, str) or type(count) is not int or count < 0:
            raise SnapshotError("it has a storage of something other than numbers.")
        dtype = np.dtype(STORAGE_TYPES[name])
        if key not in self.by_key:
            self.by_key[key] = StorageRecord(dtype, count, self.place(key, count * dtype.itemsize))
        known = self.by_key[key]
        if known.dtype != dtype or known.count != count:
            raise SnapshotError("it is damaged: a storage with two sizes.")
        return known


def read_stream(data: memoryview, allowed: Mapping[str, Callable[..., Any]] = ALLOWED) -> Any:
    """Return the object of the older format. Raises: SnapshotError if it is damaged, ForbiddenGlobalError."""
    magic, at = unpickle(data, {})
    version, at = unpickle(data, {}, start=at)
    if magic != MAGIC or version != _VERSION:
        raise SnapshotError("it is no stream of torch.save.")
    machine, at = unpickle(data, {}, start=at)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise SnapshotError("it was written on a big-endian machine.")
    storages = _Storages(lambda key, size: None)
    content, at = unpickle(data, allowed, start=at, persistent=storages)
    keys, at = unpickle(data, {}, start=at)
    if not isinstance(keys, list):
        raise SnapshotError("it is damaged: its list of storages is missing.")
    for key in keys:
        storage = storages.by_key.get(key) if isinstance(key, str) else None
        if storage is None or storage.data is not None or len(data) < at + 8:
            raise SnapshotError("it is truncated, or lists storages that it does not use.")
        (count,) = struct.unpack("<q", data[at : at + 8])
        end = at + 8 + storage.count * storage.dtype.itemsize
        if count != storage.count or end > len(data):
            raise SnapshotError("it is truncated: a storage is not as long as it should be.")
        storage.data, at = data[at + 8 : end], end
    return content


def _storage_of(data: Any) -> StorageRecord:
    """Return the storage whose stream is inside a pickle; its own pickle may hold no further stream."""
    storage = read_stream(memoryview(data)) if isinstance(data, (bytes, memoryview)) else None
    if not isinstance(storage, StorageRecord):
        raise SnapshotError("it is damaged: a storage of something else.")
    return storage


def read_pickle(data: memoryview) -> Any:
    """Return the object of a plain pickle whose tensors hold their own streams."""
    return unpickle(data, {**ALLOWED, "torch.storage._load_from_bytes": _storage_of})[0]


def read_archive(data: memoryview) -> Any:
    """Return the object of an archive. Raises: SnapshotError if it is damaged or compressed, ForbiddenGlobalError."""
    _check_directory(data)
    try:
        with zipfile.ZipFile(_Seekable(data)) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except _DAMAGED as error:
        raise SnapshotError("it is a damaged or truncated archive.") from error
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if not pickles and any(name == "dataset.json" or name.lower().endswith(_PICTURES) for name in members):
        raise SnapshotError("it is a data set, not a network; 'capriccio dataset inspect' tells what is in it.")
    if len(pickles) != 1:
        raise SnapshotError("it is an archive, but not one of torch.save.")
    folder = pickles[0].removesuffix("data.pkl")
    order = members.get(folder + "byteorder")
    if order is not None and bytes(_member(data, order)) != b"little":
        raise SnapshotError("it was written on a big-endian machine.")

    def place(key: str, size: int) -> memoryview:
        member = members.get(f"{folder}data/{key}")
        if member is None or member.file_size != size:
            raise SnapshotError("it is damaged: a storage is missing or not as long as it should be.")
        return _member(data, member)

    return unpickle(_member(data, members[pickles[0]]), ALLOWED, persistent=_Storages(place))[0]


def _check_directory(data: memoryview) -> None:
    """Refuse tables of contents that would take memory many times the size of a network's."""
    tail = bytes(data[-(2**16 + 200) :])
    sizes = []
    for signature, form, at in ((b"PK\x05\x06", "<I", 12), (b"PK\x06\x06", "<Q", 40)):
        starts = [match.start() + at for match in re.finditer(re.escape(signature), tail)]  # any may be the one used
        sizes += [struct.unpack_from(form, tail, start)[0] for start in starts if start + 8 <= len(tail)]
    if any(size > MAX_DIRECTORY_BYTES for size in sizes if size != 0xFFFFFFFF):
        raise SnapshotError("it is an archive of far more entries than a network has.")


def _member(data: memoryview, member: zipfile.ZipInfo) -> memoryview:
    at = member.header_offset
    if member.compress_type != zipfile.ZIP_STORED or at < 0 or at + 30 > len(data):
        raise SnapshotError("it is an archive with compressed or missing entries; torch.save writes none.")
    names, extra = struct.unpack_from("<HH", data, at + 26)
    start = at + 30 + names + extra
    if bytes(data[at : at + 4]) != b"PK\x03\x04" or start + member.file_size > len(data):
        raise SnapshotError("it is a truncated archive.")
    return data[start : start + member.file_size]


class _Seekable(io.RawIOBase):
    """A file over bytes that are not copied."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, (0, self.at, len(self.data))[whence] + offset)
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.at : self.at + len(buffer)]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)
