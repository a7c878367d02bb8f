"""Pictures to train on: an archive or folder as uint8 [n, C, H, W], with labels, mirrored and held-out pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.config import ImageShape
from capriccio.data.archive import INDEX_NAME, PictureFiles, open_files, read_index
from capriccio.data.building.build import build_dataset
from capriccio.data.building.report import Skipped
from capriccio.data.cache import built_path, cache_folder, sweep_leftovers
from capriccio.data.card import LICENCE_NOT_STATED, DataCard
from capriccio.data.holdout import choose_heldout_of_grown
from capriccio.data.labels import Labels, no_labels, parse_labels
from capriccio.data.pictures import Header, PictureError, Pixels, read_header
from capriccio.data.stores import CacheMode, PixelStore, open_store, read_picture
from capriccio.errors import DatasetError
from capriccio.progress import Progress

SAY_SIZE = "say with --resolution to which size they shall be cut"

_CACHE_VERSION = 2
"""Changes when the same files would be decoded, reduced or hashed to something else."""


class ImageDataset:
    """Pictures of one size, by index. With mirroring, the second half of the indices are the mirrored pictures."""

    def __init__(
        self,
        card: DataCard,
        store: PixelStore,
        rows: NDArray[np.int64],
        names: Sequence[str],
        labels: Labels,
    ) -> None:
        """Args: what is known; where pixels come from; the rows of ``store`` in order; names and labels of all rows."""
        self.card = card
        self._store = store
        self._rows = rows
        self._names = names
        self._labels = labels

    def __len__(self) -> int:
        """Number of items, mirrored ones included."""
        return self.num_pictures * (2 if self.card.mirror else 1)

    @property
    def num_pictures(self) -> int:
        """Number of different pictures: items without the mirrored ones."""
        return len(self._rows)

    @property
    def shape(self) -> ImageShape:
        """Shape of one picture."""
        return ImageShape(channels=self.card.channels, height=self.card.height, width=self.card.width)

    @property
    def c_dim(self) -> int:
        """Size of a label; 0 = unconditional."""
        return self._labels.dim

    @property
    def has_labels(self) -> bool:
        """Whether pictures have labels and they were asked for."""
        return self.c_dim > 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pictures in the archive, in order, without the mirrored items."""
        return tuple(self._names[row] for row in self._rows)

    def images(self, indices: Sequence[int] | NDArray[np.int64]) -> Pixels:
        """Return pictures, uint8 [n, C, H, W], a new array.

        Raises: IndexError if an index is outside 0…len−1; DatasetError naming a picture that can no longer be read.
        """
        rows, mirrored = self._locate(indices)
        images = self._store.read(rows)
        images[mirrored] = images[mirrored, :, :, ::-1]
        return images

    def labels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return labels, float32 [n, c_dim]; classes are one-hot."""
        return self._labels.at(self._locate(indices)[0])

    def all_images(self) -> Pixels:
        """Return every picture without the mirrored items, uint8 [num_pictures, C, H, W].

        Item i is picture ``i % num_pictures``, mirrored left to right if ``i >= num_pictures``.
        """
        return self._store.read(self._rows)

    def _locate(self, indices: Sequence[int] | NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        items = np.asarray(indices, dtype=np.int64)
        if items.size and not (items.min() >= 0 and items.max() < len(self)):
            raise IndexError(f"indices must lie in 0..{len(self) - 1}, got {items.min()}..{items.max()}.")
        return self._rows[items % max(self.num_pictures, 1)], items >= self.num_pictures


@dataclass(frozen=True, slots=True)
class DatasetSplit:
    """A data set, divided before anything is learnt."""

    train: ImageDataset
    """Pictures to learn from."""
    heldout: ImageDataset
    """Pictures set aside; may be empty, never mirrored."""
    skipped: tuple[Skipped, ...]
    """Files left out when the archive was built, with reasons."""


def open_dataset(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    labels: bool = False,
    mirror: bool = False,
    subset: int | None = None,
    seed: int = 0,
    holdout: int | None = None,
    grown_from: Sequence[str] = (),
    cache: CacheMode = "auto",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> DatasetSplit:
    """Open an archive or folder of pictures for training.

    An archive (.zip, or a folder with ``dataset.json``) and a plain folder of equal-sized pictures are taken as they
    are; larger pictures are reduced to ``size`` if the aspect agrees. A plain folder of odd photographs is cut and
    reduced to ``size`` once, into the cache. The first opening reads and checks every picture; later ones of an archive
    are instant, of a plain folder they look at every file again, whose sizes might differ.

    Args:
        path: .zip archive or folder; never written to.
        size: (height, width) to train at; None = as stored.
        labels: read labels. Asking for labels that are not there is an error.
        mirror: add every picture mirrored left to right, after all others.
        subset: train on this many pictures, chosen by ``seed`` after held-out ones were set aside; None = all.
        seed: of the subset (MT19937).
        holdout: pictures to set aside; None = 5 %, at most 1,000.
        grown_from: hashes of what the set was when a run on it began and at each later growth, oldest first: what was
            held out then stays so, and a subset stays what it was. None = it never grew.
        cache: see :func:`~capriccio.data.stores.open_store`.
        cache_dir: the cache folder; None = $CAPRICCIO_CACHE or the user's.
        progress: called with (done, total) while pictures are read for the first time.

    Raises: DatasetError for anything wrong with the pictures, naming them; ConfigError for a size that no network can
    have; StorageError if the cache cannot be written.
    Source: reading order, labels, mirror and subset rules are those of the field's data sets.
    """
    path, folder = Path(path), cache_folder(cache_dir)
    plan = _plan(path, size)
    files, shape = plan.files, plan.shape
    known = _read_labels(files, path) if labels else None  # before the long work, which would be for nothing
    if plan.build:
        files = _built(plan, folder, progress)
    known = known or no_labels(len(files.names))
    native = read_picture(files, files.names[0]).shape
    index = read_index(files)
    survey, store = open_store(
        files, native, shape, cache=cache, folder=folder, key=_key(files, shape), progress=progress
    )

    stages = _stages(survey.digests, grown_from, path)
    heldout = choose_heldout_of_grown(survey.digests, survey.thumbnails, holdout, stages)
    usable = np.setdiff1d(np.arange(len(files.names)), heldout)
    rows = usable if subset is None else _subset(usable[usable < [*stages, len(files.names)][0]], subset, seed)
    licence = index.get("licence")
    card = DataCard(
        name=path.resolve().stem if path.is_file() else path.resolve().name,
        hash=hashlib.sha256(survey.digests.tobytes()).hexdigest(),
        total=len(files.names),
        count=len(rows),
        channels=shape.channels,
        height=shape.height,
        width=shape.width,
        c_dim=known.dim,
        class_names=_class_names(index, known),
        vector_labels=known.are_vectors,
        mirror=mirror,
        licence=licence if isinstance(licence, str) else LICENCE_NOT_STATED,
        heldout=tuple(files.names[row] for row in heldout),
        grown_from=tuple(grown_from),
    )
    return DatasetSplit(
        train=ImageDataset(card, store, rows, files.names, known),
        heldout=ImageDataset(replace(card, count=len(heldout), mirror=False), store, heldout, files.names, known),
        skipped=_skipped(index),
    )


def peek_shape(path: str | Path, *, size: tuple[int, int] | None = None, advice: str = SAY_SIZE) -> ImageShape:
    """Return the shape that :func:`open_dataset` would train at, from the first picture or the headers of a folder.

    ``advice``: for the owner of a folder of several sizes.

    Raises: as :func:`open_dataset`, as far as a first look shows.
    """
    return _plan(Path(path), size, advice).shape


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a path becomes pictures of one shape."""

    files: PictureFiles
    shape: ImageShape
    build: bool
    """Whether the pictures are odd photographs, to be cut and reduced into the cache first."""


def _plan(path: Path, size: tuple[int, int] | None, advice: str = SAY_SIZE) -> _Plan:
    files = open_files(path)
    if path.is_dir() and INDEX_NAME not in files.others and not _is_uniform(files, size):
        height, width = size or _common_size(files, advice)
        return _Plan(files, ImageShape(channels=3, height=height, width=width), build=True)
    channels, *native = read_picture(files, files.names[0]).shape
    height, width = size or native
    _check_reducible((native[0], native[1]), (height, width), path)
    return _Plan(files, ImageShape(channels=channels, height=height, width=width), build=False)


def _is_uniform(files: PictureFiles, size: tuple[int, int] | None) -> bool:
    """Whether the pictures of a folder can be trained on as they are: one size (the one asked for), one plain mode."""
    first = _header(files, files.names[0])
    if first is None or not first.upright or first.mode not in ("L", "RGB", "RGBA") or size not in (None, first.size):
        return False
    return all(_header(files, name) == first for name in files.names)


def _common_size(files: PictureFiles, advice: str) -> tuple[int, int]:
    """Return the one size that the readable pictures of a folder have. Raises: DatasetError naming two that differ."""
    readable = ((name, header.size) for name in files.names if (header := _header(files, name)) is not None)
    first, size = next(readable, (files.names[0], None))
    if size is None:
        raise DatasetError(f"'{files.path}' holds no usable picture: all {len(files.names)} are damaged.")
    for name, other in readable:
        if other != size:
            raise DatasetError(
                f"'{files.path}': '{name}' is {other[0]}×{other[1]}, but '{first}' is {size[0]}×{size[1]} "
                f"(height×width); {advice}."
            )
    return size


def _header(files: PictureFiles, name: str) -> Header | None:
    try:
        return read_header(files.read(name))
    except PictureError:
        return None


def _check_reducible(native: tuple[int, int], size: tuple[int, int], path: Path) -> None:
    if size[0] > native[0] or size[1] > native[1]:
        raise DatasetError(
            f"'{path}' holds pictures of {native[0]}×{native[1]}, too small for {size[0]}×{size[1]} (height×width); "
            "give pictures of at least that size: an archive of larger photographs."
        )
    if size[0] * native[1] != size[1] * native[0]:
        raise DatasetError(
            f"'{path}' holds pictures of {native[0]}×{native[1]}, which have another aspect than {size[0]}×{size[1]} "
            "(height×width) and would have to be cropped; make an archive of that size with `capriccio dataset build`."
        )


def _built(plan: _Plan, folder: Path, progress: Progress | None) -> PictureFiles:
    """Return the archive made from odd photographs, from the cache or made now."""
    dest = built_path(folder, _key(plan.files, plan.shape))
    try:
        return open_files(dest)
    except DatasetError:  # absent, or damaged since
        size = (plan.shape.height, plan.shape.width)
        sweep_leftovers(dest.parent)
        mine = dest.with_name(f".{dest.stem}.{os.getpid()}.zip")  # another run may be building the same
        try:
            build_dataset(plan.files.path, mine, size=size, force=True, progress=progress)
            mine.replace(dest)
        finally:
            mine.unlink(missing_ok=True)
        return open_files(dest)


def _key(files: PictureFiles, shape: ImageShape) -> str:
    text = f"{_CACHE_VERSION}:{files.fingerprint()}:{shape.height}×{shape.width}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_labels(files: PictureFiles, path: Path) -> Labels:
    entries = read_index(files).get("labels")
    if entries is None:
        raise DatasetError(
            f"'{path}' has no labels ({INDEX_NAME} with a list under 'labels'); train without labels, or add them."
        )
    return parse_labels(entries, files.names, str(path))


def _class_names(index: dict[str, Any], labels: Labels) -> tuple[str, ...]:
    """Return what an index calls the classes; nothing where it does not name all of them."""
    names = index.get("class_names")
    if not isinstance(names, list) or len(names) != labels.dim or labels.are_vectors:
        return ()
    return tuple(map(str, names))


def _stages(digests: NDArray[np.uint8], hashes: Sequence[str], path: Path) -> list[int]:
    """Return how many pictures the set had when it had each of the hashes. Raises: DatasetError if it never had one."""
    stages: list[int] = []
    wanted = list(hashes)
    digest = hashlib.sha256()
    for count, row in enumerate(digests, start=1):
        digest.update(row.tobytes())
        if wanted and digest.hexdigest() == wanted[0]:
            stages.append(count)
            wanted.pop(0)
    if wanted:
        raise DatasetError(f"'{path}' does not begin with the pictures that the run began with; it is another set.")
    return stages


def _subset(rows: NDArray[np.int64], subset: int, seed: int) -> NDArray[np.int64]:
    if subset == len(rows):
        return rows
    if not 1 <= subset < len(rows):
        raise DatasetError(f"subset must lie in 1..{len(rows)} pictures, got {subset}.")
    order = np.arange(len(rows))
    np.random.RandomState(seed).shuffle(order)
    return rows[np.sort(order[:subset])]


def _skipped(index: dict[str, object]) -> tuple[Skipped, ...]:
    entries = index.get("skipped", [])
    if not isinstance(entries, list):
        return ()
    pairs = [entry for entry in entries if isinstance(entry, list) and len(entry) == 2]
    return tuple(Skipped(str(name), str(reason)) for name, reason in pairs)
