"""Photographs of a folder or archive by name, brought to a model's shape."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from capriccio.config import ImageShape
from capriccio.data.pictures import PictureError, Pixels
from capriccio.inversion.targets import SUFFIXES, to_target


def read_photographs(
    source: str | Path, shape: ImageShape, names: set[str] | None, count: int
) -> list[tuple[str, Pixels]]:
    """Return up to ``count`` photographs as (name, uint8 [C, H, W]), in order of name; unreadable ones are left out.

    Args:
        source: a folder or a zip archive.
        shape: of the model.
        names: names within ``source``, or file names alone, to take; None = all.
        count: how many at most.

    Raises: PictureError if ``source`` is neither folder nor archive.
    """
    found: list[tuple[str, Pixels]] = []
    with _opened(source) as (there, read):
        for name in there:
            if len(found) < count and _wanted(name, names):
                _keep(found, name, read(name), shape)
    return found


def strangers(source: str | Path, names: set[str]) -> int:
    """Return how many pictures of a folder or archive are none of ``names``. Raises: PictureError as above."""
    with _opened(source) as (there, _):
        return sum(not _wanted(name, names) for name in there)


@contextmanager
def _opened(source: str | Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Give the names of all pictures of a folder or archive, sorted, and what reads one."""
    source = Path(source)
    if source.is_dir():
        paths = {p.relative_to(source).as_posix(): p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES}
        yield sorted(paths), lambda name: paths[name].read_bytes()
        return
    try:
        with zipfile.ZipFile(source) as archive:
            there = [name for name in archive.namelist() if PurePosixPath(name).suffix.lower() in SUFFIXES]
            yield sorted(there), archive.read
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise PictureError(f"is neither a folder nor an archive of pictures ({error})") from error


def _wanted(name: str, names: set[str] | None) -> bool:
    return names is None or name in names or PurePosixPath(name).name in names


def _keep(found: list[tuple[str, Pixels]], name: str, data: bytes, shape: ImageShape) -> None:
    try:
        found.append((name, to_target(data, shape)[0]))
    except PictureError:
        return
