"""What was learnt from the pictures once and is kept in the user's cache folder, never beside the pictures.

Two files per data set and size, each complete or absent: ``<key>.survey.npz`` (content hashes and thumbnails) and
``<key>.pixels.npy`` (decoded pixels, memory-mapped). The key is a hash of the files and the size, so that a changed
archive gets new files and an old cache is never wrong, only useless.
"""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capriccio.data.fingerprints import DIGEST_BYTES, THUMBNAIL_SHAPE, digest
from capriccio.data.pictures import Pixels
from capriccio.durable import replacing

CACHE_VARIABLE = "CAPRICCIO_CACHE"
_CHECKED_ROWS = 8
_LEFTOVER_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over all pictures found."""

    digests: NDArray[np.uint8]
    """Content hash of each picture as the archive holds it, uint8 [N, 32]."""
    thumbnails: NDArray[np.uint8]
    """Likeness of each picture, uint8 [N, 8, 9]."""
    row_digests: NDArray[np.uint8]
    """Content hash of each picture at training size, uint8 [N, 32]."""


def cache_folder(chosen: Path | None = None) -> Path:
    """Return the folder for caches: ``chosen``, else $CAPRICCIO_CACHE, else the user's cache folder."""
    if chosen is not None:
        return chosen
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "capriccio"


def survey_path(folder: Path, key: str) -> Path:
    """Return where the survey of a data set is kept."""
    return folder / "datasets" / f"{key}.survey.npz"


def pixels_path(folder: Path, key: str) -> Path:
    """Return where the decoded pixels of a data set are kept."""
    return folder / "datasets" / f"{key}.pixels.npy"


def built_path(folder: Path, key: str) -> Path:
    """Return where the archive built from a folder of odd photographs is kept."""
    return folder / "built" / f"{key}.zip"


def has_room(folder: Path, num_bytes: int) -> bool:
    """Whether ``folder`` can be written and its disk has at least twice the room asked for."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return os.access(existing, os.W_OK) and shutil.disk_usage(existing).free > 2 * num_bytes


def sweep_leftovers(folder: Path) -> None:
    """Remove what killed writers left in ``folder``: unfinished files that nobody wrote to for a day."""
    for leftover in folder.glob("*.part"):
        with suppress(OSError):  # another process may sweep, too
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()


def save_survey(path: Path, survey: Survey) -> None:
    """Keep a survey. Raises: StorageError if the folder cannot be written."""
    with replacing(path) as file:
        np.savez(file, digests=survey.digests, thumbnails=survey.thumbnails, row_digests=survey.row_digests)


def load_survey(path: Path, count: int) -> Survey | None:
    """Return the survey of ``count`` pictures, or None when there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            survey = Survey(arrays["digests"], arrays["thumbnails"], arrays["row_digests"])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    shapes = (survey.digests.shape, survey.thumbnails.shape, survey.row_digests.shape)
    expected = ((count, DIGEST_BYTES), (count, *THUMBNAIL_SHAPE), (count, DIGEST_BYTES))
    return survey if shapes == expected else None


def load_pixels(path: Path, shape: tuple[int, int, int, int], survey: Survey) -> Pixels | None:
    """Map the decoded pixels [N, C, H, W] into memory, or return None when they are absent or damaged.

    The header and the length of the file are checked, and a few pictures against their content hash.
    """
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if pixels.shape != shape or pixels.dtype != np.uint8:
        return None
    rows = np.unique(np.linspace(0, len(pixels) - 1, _CHECKED_ROWS).astype(np.int64))
    sound = all(np.array_equal(digest(pixels[row]), survey.row_digests[row]) for row in rows)
    return pixels if sound else None
