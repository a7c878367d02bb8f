"""Photographs of a folder or archive by name, brought to a model's shape."""

from __future__ import annotations

import zipfile
import zlib
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
    source = Path(source)
    found: list[tuple[str, Pixels]] = []
    if source.is_dir():
        paths = {p.relative_to(source).as_posix(): p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES}
        for name in sorted(paths):
            if len(found) < count and _wanted(name, names):
                _keep(found, name, paths[name].read_bytes(), shape)
        return found
    try:
        with zipfile.ZipFile(source) as archive:
            for name in sorted(archive.namelist()):
                if len(found) < count and PurePosixPath(name).suffix.lower() in SUFFIXES and _wanted(name, names):
                    _keep(found, name, archive.read(name), shape)
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise PictureError(f"is neither a folder nor an archive of pictures ({error})") from error
    return found


def _wanted(name: str, names: set[str] | None) -> bool:
    return names is None or name in names or PurePosixPath(name).name in names


def _keep(found: list[tuple[str, Pixels]], name: str, data: bytes, shape: ImageShape) -> None:
    try:
        found.append((name, to_target(data, shape)[0]))
    except PictureError:
        return
