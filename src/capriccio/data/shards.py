"""Tar shards: pictures in the WebDataset naming, read front to back from a disk, a web server or any fsspec address.

A shard is a tar file. Members that follow each other and agree in their name up to the first dot of its last part
belong together: ``0007.jpg``, ``0007.cls`` and ``0007.json`` are one sample with the key ``0007``. Nothing is written
to disk.
"""

from __future__ import annotations

import http.client
import json
import re
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, cast

from capriccio import __version__
from capriccio.data.archive import IMAGE_SUFFIXES, MAX_FILE_BYTES
from capriccio.errors import DatasetError

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""How the name of a shard ends."""

USER_AGENT = f"capriccio/{__version__} (data-set builder)"
"""How we present ourselves to web servers; robots.txt is asked about the first word."""

TIMEOUT_SECONDS = 30.0
"""A server that sends nothing for this long counts as failed."""

_FAILURES = (OSError, EOFError, zlib.error, tarfile.TarError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Sample:
    """The members of a shard that belong together."""

    key: str
    """Their common name, with folders, without ending."""
    files: dict[str, bytes]
    """Contents by ending in lower case with its dot, such as ``.jpg`` or ``.seg.png``; in the order of the shard."""

    @property
    def picture(self) -> str | None:
        """Ending of the first member that is a picture by its name; None when there is none."""
        return next((ending for ending in self.files if PurePosixPath(f"x{ending}").suffix in IMAGE_SUFFIXES), None)

    @property
    def label(self) -> Any:
        """The class in ``.cls``, else the entry ``label`` of ``.json``; None when there is neither.

        Raises: DatasetError if they are there and cannot be understood.
        """
        try:
            if ".cls" in self.files:
                return int(self.files[".cls"])
            facts = json.loads(self.files.get(".json", b"{}"))
        except ValueError as error:
            raise DatasetError(f"the label of sample '{self.key}' cannot be read ({error}).") from error
        return facts.get("label") if isinstance(facts, dict) else None


def is_url(text: str) -> bool:
    """Whether ``text`` is an address such as ``https://…`` or ``s3://…`` and not a path."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+(::[a-zA-Z0-9+.-]+)*://", text) is not None


def is_shard(text: str) -> bool:
    """Whether a path or address names a tar file, or several by a brace as in ``set-{000..012}.tar``."""
    return text.split("?")[0].lower().endswith(SHARD_SUFFIXES)


def expand_braces(text: str) -> list[str]:
    """Return the names that ``set-{008..012}.tar`` or ``{train,val}.tar`` stands for; leading zeros are kept.

    Raises: DatasetError if a range runs backwards.
    """
    match = re.search(r"\{([^{}]*)\}", text)
    if match is None:
        return [text]
    before, after = text[: match.start()], text[match.end() :]
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if bounds is None:
        words = match[1].split(",")
    else:
        first, last = int(bounds[1]), int(bounds[2])
        if first > last:
            raise DatasetError(f"'{text}': the range {match[1]} runs backwards.")
        words = [str(number).zfill(len(bounds[1])) for number in range(first, last + 1)]
    return [name for word in words for name in expand_braces(before + word + after)]


@contextmanager
def open_stream(address: str) -> Iterator[IO[bytes]]:
    """Open a file for reading front to back: a path, an http(s) address, or whatever fsspec knows.

    Raises: DatasetError if the kind of address needs a package that is not installed; OSError if there is no such file
    or the server refuses.
    """
    if not is_url(address):
        with open(address, "rb") as file:
            yield file
    elif address.startswith(("http://", "https://")):
        request = urllib.request.Request(address, headers={"User-Agent": USER_AGENT})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            yield cast(IO[bytes], response)
            response.read()
            if response.length:  # the connection broke between two members, which looks like the end of a tar file
                raise http.client.IncompleteRead(b"", response.length)
    else:
        import fsspec

        try:
            opened = fsspec.open(address, "rb")
        except (ImportError, ValueError) as error:
            raise DatasetError(f"'{address}' cannot be opened: {str(error).rstrip('.')}.") from error
        with opened as file:
            yield file


def read_samples(stream: IO[bytes]) -> Iterator[Sample]:
    """Yield the samples of one tar file in its order; links, devices and folders are passed over.

    Raises: tarfile.TarError, EOFError, OSError or zlib.error if the file is damaged or the stream breaks; DatasetError
    for a member too large for a picture.
    """
    key, files = "", dict[str, bytes]()
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            if not member.isfile():
                continue
            if member.size > MAX_FILE_BYTES:
                raise DatasetError(f"member '{member.name}' holds {member.size:,} bytes, too many for a picture.")
            name, ending = split_name(member.name)
            if files and (name != key or ending in files):
                yield Sample(key, files)
                files = {}
            key = name
            content = archive.extractfile(member)
            data = content.read() if content is not None else b""
            if len(data) != member.size:
                raise EOFError(f"member '{member.name}' ends after {len(data):,} of {member.size:,} bytes")
            files[ending] = data
    if files:
        yield Sample(key, files)


def split_name(name: str) -> tuple[str, str]:
    """Return the key and the ending of a member: what stands before and from the first dot of the last part.

    A name that begins with a dot, hidden in Unix, keeps that dot in its key.
    """
    folder, slash, last = name.removeprefix("./").rpartition("/")
    dots = len(last) - len(last.lstrip("."))
    stem, dot, ending = last[dots:].partition(".")
    return folder + slash + last[:dots] + stem, (dot + ending).lower()


def read_shard(
    address: str,
    *,
    skip: int = 0,
    tries: int = 3,
    wait_seconds: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Sample]:
    """Yield the samples of one shard; a broken connection is opened again and goes on after the last whole sample.

    Args:
        address: path or address of the shard.
        skip: samples to pass over at its beginning.
        tries: attempts that may fail one after another without a sample between them.
        wait_seconds: before the second attempt; doubles with each.
        sleep: how to wait.

    Raises: DatasetError naming the shard when it is missing, damaged or keeps failing.
    """
    done, failures = skip, 0
    while True:
        try:
            with open_stream(address) as stream:
                for index, sample in enumerate(read_samples(stream)):
                    if index >= done:
                        yield sample
                        done, failures = index + 1, 0
                return
        except _FAILURES as error:
            failures += 1
            if failures >= tries or not _may_pass(address, error):
                told = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise DatasetError(f"shard '{address}' cannot be read after {done} samples ({told}).") from error
            sleep(wait_seconds * 2 ** (failures - 1))


def _may_pass(address: str, error: BaseException) -> bool:
    """Whether trying again can help: never for a file on this machine, nor where a server says that it is not there."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 425, 429) or error.code >= 500
    return is_url(address) and not isinstance(error, FileNotFoundError | PermissionError)
