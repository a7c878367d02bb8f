"""Where pixels come from while training: decoded each time, or mapped from the cache; and the pass that fills it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from capriccio.config import ImageShape
from capriccio.data.archive import PictureFiles
from capriccio.data.cache import (
    Survey,
    has_room,
    load_pixels,
    load_survey,
    pixels_path,
    save_survey,
    survey_path,
    sweep_leftovers,
)
from capriccio.data.fingerprints import digest, thumbnail
from capriccio.data.pictures import PictureError, Pixels, decode, reduce
from capriccio.durable import replacing
from capriccio.errors import DatasetError, StorageError
from capriccio.progress import Progress

CacheMode = Literal["auto", "none", "raw"]

_T = TypeVar("_T")

_THREADS = 4
_CHUNK = 256


class PixelStore(Protocol):
    """Gives pixels by row."""

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """Return the pictures of ``rows``, uint8 [n, C, H, W], a new array."""
        ...


class MappedStore:
    """Decoded pixels in a memory-mapped file: reading is copying."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels.view(np.ndarray)

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """Return the pictures of ``rows``."""
        return self._pixels[rows]


class DecodingStore:
    """Decodes each picture whenever it is asked for, with a few threads."""

    def __init__(self, files: PictureFiles, native: tuple[int, ...], size: tuple[int, int]) -> None:
        self._files = files
        self._native = native
        self._size = size
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")

    def read(self, rows: NDArray[np.int64]) -> Pixels:
        """Return the pictures of ``rows``. Raises: DatasetError naming a picture that can no longer be read."""
        names = [self._files.names[row] for row in rows]
        pictures = self._pool.map(lambda name: reduce(read_picture(self._files, name, self._native), self._size), names)
        out = np.empty((len(names), self._native[0], *self._size), dtype=np.uint8)
        for row, picture in enumerate(pictures):
            out[row] = picture
        return out


def read_picture(files: PictureFiles, name: str, native: tuple[int, ...] | None = None) -> Pixels:
    """Decode one picture of a data set, uint8 [C, H, W].

    Raises: DatasetError naming it, if it is damaged or not of the shape ``native`` that the first picture has.
    """
    data = files.read(name)
    try:
        pixels = decode(data)
    except PictureError as error:
        raise DatasetError(
            f"'{files.path}': '{name}' {error}; remove it, or make a clean archive with `capriccio dataset build`."
        ) from error
    if native is not None and pixels.shape != native:
        raise DatasetError(
            f"'{files.path}': '{name}' is {_times(pixels.shape)}, but '{files.names[0]}' is {_times(native)}; pictures "
            "to train on have one size: cut them to it with `capriccio dataset build`."
        )
    return pixels


def open_store(
    files: PictureFiles,
    native: tuple[int, ...],
    shape: ImageShape,
    *,
    cache: CacheMode,
    folder: Path,
    key: str,
    progress: Progress | None,
) -> tuple[Survey, PixelStore]:
    """Return what is known about the pictures and where their pixels come from, using and filling the cache.

    The first time, every picture is read and checked; afterwards nothing is decoded.

    Args:
        files: the pictures.
        native: their shape as stored, (C, H, W).
        shape: their shape as trained on, of the same aspect.
        cache: "raw" maps decoded pixels from the cache; "none" decodes each time; "auto" maps where the disk
            has room.
        folder: the cache folder.
        key: identifies files and size in it.
        progress: called with (done, total) during the first reading.

    Raises: DatasetError naming a picture that is damaged or of another size; StorageError if "raw" has no room.
    """
    all_shape = (len(files.names), *(shape.channels, shape.height, shape.width))
    size = (shape.height, shape.width)
    survey = load_survey(survey_path(folder, key), len(files.names))
    if cache != "none" and survey is not None:
        pixels = load_pixels(pixels_path(folder, key), all_shape, survey)
        if pixels is not None:
            return survey, MappedStore(pixels)

    num_bytes = int(np.prod(all_shape))
    room = has_room(folder, num_bytes)
    if cache == "raw" and not room:
        raise StorageError(
            f"cache 'raw' needs {2 * num_bytes / 1e9:.1f} GB in a writable '{folder}'; free room, name another folder "
            "in CAPRICCIO_CACHE, or take cache 'none'."
        )
    if cache == "none" or not room:
        if survey is None:
            survey = _read_all(files, native, size, None, progress)
            if room:
                save_survey(survey_path(folder, key), survey)
        return survey, DecodingStore(files, native, size)

    path = pixels_path(folder, key)
    sweep_leftovers(path.parent)
    with replacing(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": all_shape}
        np.lib.format.write_array_header_1_0(file, header)
        survey = _read_all(files, native, size, file, progress)
    save_survey(survey_path(folder, key), survey)
    pixels = load_pixels(path, all_shape, survey)
    if pixels is None:
        raise StorageError(f"'{path}' does not read back as written; check that disk, or take cache 'none'.")
    return survey, MappedStore(pixels)


def _read_all(
    files: PictureFiles,
    native: tuple[int, ...],
    size: tuple[int, int],
    sink: BinaryIO | None,
    progress: Progress | None,
) -> Survey:
    """Read every picture once; write its pixels at training size to ``sink``."""

    def look(name: str) -> tuple[Pixels, NDArray[np.uint8], NDArray[np.uint8]]:
        pixels = read_picture(files, name, native)
        return reduce(pixels, size), digest(pixels), thumbnail(pixels)

    digests, thumbnails, row_digests = [], [], []
    for done, (row, exact, likeness) in enumerate(_in_threads(look, files.names), start=1):
        digests.append(exact)
        thumbnails.append(likeness)
        row_digests.append(exact if native[1:] == size else digest(row))
        if sink is not None:
            sink.write(row.tobytes())
        if progress is not None:
            progress(done, len(files.names))
    return Survey(np.stack(digests), np.stack(thumbnails), np.stack(row_digests))


def _in_threads(job: Callable[[str], _T], names: tuple[str, ...]) -> Iterator[_T]:
    """Yield ``job`` of every name in order; threads never run further ahead than a chunk."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(names), _CHUNK):
            yield from pool.map(job, names[start : start + _CHUNK])


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
