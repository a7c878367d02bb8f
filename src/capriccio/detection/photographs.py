"""Photographs of a folder or archive by name, brought to a model's shape."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from capriccio.config import ImageShape
from capriccio.data.archive import open_files
from capriccio.data.pictures import Pixels
from capriccio.errors import DatasetError
from capriccio.inversion.targets import to_target


def read_photographs(
    source: str | Path, shape: ImageShape, names: set[str] | None, count: int
) -> list[tuple[str, Pixels]]:
    """Return up to ``count`` photographs as (name, uint8 [C, H, W]), in order of name; unreadable ones are left out.

    Args:
        source: a folder or a zip archive.
        shape: of the model.
        names: names within ``source``, or file names alone, to take; None = all.
        count: how many at most.

    Raises: DatasetError if ``source`` is neither folder nor archive, or holds no picture.
    """
    files = open_files(Path(source))
    found: list[tuple[str, Pixels]] = []
    for name in files.names:
        if len(found) < count and _wanted(name, names):
            try:
                found.append((name, to_target(files.read(name), shape)[0]))
            except DatasetError:  # damaged, or no picture at all
                continue
    return found


def strangers(source: str | Path, names: set[str]) -> int:
    """Return how many pictures of a folder or archive are none of ``names``. Raises: DatasetError as above."""
    return sum(not _wanted(name, names) for name in open_files(Path(source)).names)


def _wanted(name: str, names: set[str] | None) -> bool:
    return names is None or name in names or PurePosixPath(name).name in names
