"""Training straight from tar shards, on disks or behind any address: sets too large to copy.

Pictures come as an endless stream out of several lanes (:mod:`~capriccio.data.lanes`). The number of lanes does not
depend on the number of processes wherever that divides it, and picture k of the stream comes from lane k mod L: N
processes see together, row by row, what one process would have seen.

The first pictures are read at once and stay in memory: sample sheets show them, labels of fakes are drawn from theirs,
and overfitting is measured with them. Pictures are set aside by their content alone, so that none of those is ever
trained on, without a list of what the shards hold.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.config import ImageShape
from capriccio.data import lanes
from capriccio.data.building.report import Skipped
from capriccio.data.card import DataCard
from capriccio.data.dataset import DatasetSplit, ImageDataset
from capriccio.data.holdout import DEFAULT_MOST, DEFAULT_SHARE
from capriccio.data.intake import RECIPES, ShardIntake, is_heldout, label_vector, picture_bytes, to_pixels
from capriccio.data.labels import MAX_CLASSES, Labels
from capriccio.data.lanes import Lane, LaneStream, Say
from capriccio.data.pictures import PictureError, Pixels
from capriccio.data.shards import Sample, expand_braces, is_shard, is_url, read_shard
from capriccio.data.stores import MappedStore
from capriccio.errors import ConfigError, DatasetError, JobError

NUM_LANES = 8
"""Lanes of a stream, where there are as many shards."""

FIRST_PICTURES = 512
"""Pictures to train on that are read at once and stay in memory."""

Address = str


def is_streamed(path: str, cache: str) -> bool:
    """Whether a run trains straight from shards: asked for, or the only way to read what ``path`` names."""
    return cache == "stream" or (cache == "auto" and is_shard(path))


def expand_addresses(text: str) -> list[Address]:
    """Return the shards that ``text`` names: braces as in ``set-{000..012}.tar``, on this machine also ``*`` and ``?``.

    Raises: DatasetError if there is none, or one is not a tar file by its name.
    """
    found: list[Address] = []
    for name in expand_braces(text):
        found += [name] if is_url(name) or not glob.has_magic(name) else sorted(glob.glob(name, recursive=True))
    if not found:
        raise DatasetError(f"'{text}' names no file; give tar shards, such as 'shards/set-{{000..012}}.tar'.")
    if odd := [name for name in found if not is_shard(name)]:
        raise DatasetError(f"'{odd[0]}' is not a tar file by its name; streaming needs tar shards.")
    return found


class StreamedPictures(ImageDataset):
    """The first pictures of a set of shards, by index, and an endless stream of all of them."""

    def __init__(
        self,
        card: DataCard,
        store: MappedStore,
        names: Sequence[str],
        labels: Labels,
        *,
        shards: Sequence[Address],
        intake: ShardIntake,
        buffer: int,
    ) -> None:
        super().__init__(card, store, np.arange(len(names)), names, labels)
        self.shards = shards
        self._intake = intake
        self._buffer = buffer

    def stream(self, *, seed: int, rank: int, world_size: int, say: Say) -> PictureStream:
        """Return the stream of process ``rank`` of ``world_size``. Raises: ConfigError for too few shards."""
        count = num_lanes(len(self.shards), world_size)

        def maker(index: int) -> Callable[[], Lane]:
            return lambda: Lane(
                self.shards,
                index=index,
                num_lanes=count,
                seed=seed,
                chunk_size=max(self._buffer // count, 1),
                mirror=self.card.mirror,
                intake=self._intake,
                say=say,
            )

        mine = {index: LaneStream(maker(index), say) for index in range(rank, count, world_size)}
        return PictureStream(mine, count, rank, world_size)


class PictureStream:
    """What one process sees of the stream: rows r, r + N, … of every batch of all N processes."""

    def __init__(self, mine: dict[int, LaneStream], num_lanes: int, rank: int, world_size: int) -> None:
        self._mine = mine
        self._num_lanes = num_lanes
        self._rank = rank
        self._world_size = world_size
        self._step = 0
        """Pictures given out by all processes together."""

    def next(self, batch: int) -> tuple[Pixels, NDArray[np.float32]]:
        """Return this process's part of a batch of ``batch`` pictures, uint8 [n, C, H, W], and labels [n, c_dim].

        Raises: JobError when no shard can be read any more; DatasetError for a label that does not fit.
        """
        for lane in self._mine.values():
            lane.start()
        before = self.position()
        rows = range(self._step + self._rank, self._step + batch, self._world_size)
        try:
            pictures = [self._mine[row % self._num_lanes].next() for row in rows]
        except JobError:
            self.go_to(*before)  # none of the batch was given out: a checkpoint may be saved
            raise
        self._step += batch
        return np.stack([p.pixels for p in pictures]), np.stack([p.label for p in pictures])

    def epochs(self) -> float:
        """Return how often all shards were gone through, on average over the lanes of this process."""
        return sum(lane.epochs() for lane in self._mine.values()) / len(self._mine)

    def position(self) -> tuple[int, list[list[int]]]:
        """Return pictures given out by all, and where each lane stands; empty for lanes of other processes."""
        return self._step, [self._mine[i].position() if i in self._mine else [] for i in range(self._num_lanes)]

    def go_to(self, step: int, positions: Sequence[Sequence[int]]) -> None:
        """Go on from :meth:`position`, of all processes put together. Raises: ConfigError for other lanes."""
        if len(positions) != self._num_lanes:
            raise ConfigError(
                f"the run was streamed in {len(positions)} lanes and would now have {self._num_lanes}; resume it with "
                "the same shards, and a number of processes that divides its lanes."
            )
        self._step = step
        for index, lane in self._mine.items():
            lane.go_to(positions[index])


def num_lanes(num_shards: int, world_size: int) -> int:
    """Return the number of lanes: at most eight and one per shard, a multiple of the number of processes.

    Raises: ConfigError if there are fewer shards than processes.
    """
    if num_shards < world_size:
        raise ConfigError(
            f"{num_shards} shards cannot be shared by {world_size} processes; make at least as many, better eight "
            "times as many."
        )
    return max(min(NUM_LANES, num_shards) // world_size, 1) * world_size


def open_streamed(
    path: str,
    shape: ImageShape,
    *,
    labels: bool = False,
    c_dim: int = 0,
    mirror: bool = False,
    subset: int | None = None,
    holdout: int | None = None,
    buffer: int = 1024,
) -> DatasetSplit:
    """Open tar shards to train straight from them; reads the first pictures.

    Args:
        path: address or addresses of the shards, see :func:`expand_addresses`.
        shape: of the pictures as trained on; larger ones are cut around their centre and reduced.
        labels: read ``.cls`` or the entry ``label`` of ``.json``: classes, or lists of numbers.
        c_dim: size of the label; 0 = as the first pictures have it.
        mirror: mirror every picture left to right with probability ½.
        subset: not possible here.
        holdout: 0 sets nothing aside; else a twentieth of all pictures, chosen by content, is never trained on, and of
            those among the first pictures at most this many are measured with; None = at most 1,000.
        buffer: pictures shuffled together, over all processes.

    Returns: the first pictures, with the stream of all; held-out pictures; what could not be used.
    Raises: DatasetError if no picture can be read, or labels are odd; ConfigError for what a stream cannot do.
    """
    if subset is not None:
        raise ConfigError("--subset: streamed shards are not counted; name fewer shards instead.")
    if shape.channels not in RECIPES:
        raise ConfigError(f"streamed pictures are grey, RGB or RGBA; {shape.channels} channels cannot be streamed.")
    shards = expand_addresses(path)
    share = 0.0 if holdout == 0 else DEFAULT_SHARE
    first = _read_first(shards, shape, share, DEFAULT_MOST if holdout is None else holdout)
    dim = (c_dim or _label_size([*first.train, *first.heldout])) if labels else 0
    intake = ShardIntake(shape, dim, share)
    card = DataCard(
        name=_name(path),
        hash=hashlib.sha256("\n".join(PurePosixPath(shard).name for shard in shards).encode()).hexdigest(),
        total=0,
        count=0,
        channels=shape.channels,
        height=shape.height,
        width=shape.width,
        c_dim=dim,
        mirror=mirror,
    )
    train = StreamedPictures(card, *_in_memory(first.train, shape, dim), shards=shards, intake=intake, buffer=buffer)
    store, names, values = _in_memory(first.heldout, shape, dim)
    return DatasetSplit(
        train=train,
        heldout=ImageDataset(card, store, np.arange(len(names)), names, values),
        skipped=tuple(first.skipped),
    )


# ---- the first pictures


@dataclass(frozen=True)
class _First:
    train: list[tuple[Sample, Pixels]]
    heldout: list[tuple[Sample, Pixels]]
    skipped: list[Skipped]


def _read_first(shards: Sequence[Address], shape: ImageShape, share: float, most_heldout: int) -> _First:
    """Read from the beginning of the shards until there are enough pictures to train on."""
    first = _First([], [], [])
    for shard in shards:
        try:
            for sample in read_shard(shard, tries=lanes.TRIES, wait_seconds=lanes.WAIT_SECONDS):
                try:
                    data = picture_bytes(sample)
                    entry = (_label_only(sample), to_pixels(data, shape))
                except PictureError as error:
                    first.skipped.append(Skipped(f"{shard}: {sample.key}", str(error)))
                    continue
                if not is_heldout(data, share):
                    first.train.append(entry)
                elif len(first.heldout) < most_heldout:
                    first.heldout.append(entry)
                if len(first.train) == FIRST_PICTURES:
                    return first
        except DatasetError as error:
            first.skipped.append(Skipped(shard, str(error)))
    if not first.train and not first.skipped:
        raise DatasetError(f"there is no picture to train on in {len(shards)} shards.")
    if not first.train:
        why = f"the first of {len(first.skipped)} reasons: {first.skipped[0].name} {first.skipped[0].reason}"
        raise DatasetError(f"no picture can be read from {len(shards)} shards; {why.rstrip('.')}.")
    return first


def _label_only(sample: Sample) -> Sample:
    """Return the sample without its picture, which would keep the file in memory."""
    return Sample(sample.key, {ending: sample.files[ending] for ending in (".cls", ".json") if ending in sample.files})


def _label_size(entries: Sequence[tuple[Sample, Pixels]]) -> int:
    """Return the size of the labels of some samples: the largest class plus one, or the length of the lists."""
    sizes: set[tuple[type, int]] = set()
    largest = -1
    for sample, _ in entries:
        label: Any = sample.label
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < MAX_CLASSES:
            sizes.add((int, 0))
            largest = max(largest, label)
        elif isinstance(label, list):
            sizes.add((list, len(label)))
        else:
            raise DatasetError(
                f"sample '{sample.key}' has no usable label (a class in .cls, or 'label' in .json), got "
                f"{str(label)[:80]}; train without --cond, or add labels."
            )
    if len(sizes) != 1:
        raise DatasetError("labels must be all classes, or all lists of numbers of one length, not a mixture.")
    return largest + 1 if largest >= 0 else sizes.pop()[1]


def _in_memory(
    entries: Sequence[tuple[Sample, Pixels]], shape: ImageShape, c_dim: int
) -> tuple[MappedStore, list[str], Labels]:
    pixels = np.empty((len(entries), shape.channels, shape.height, shape.width), dtype=np.uint8)
    labels = np.zeros((len(entries), c_dim), dtype=np.float32)
    for row, (sample, picture) in enumerate(entries):
        pixels[row] = picture
        labels[row] = label_vector(sample, c_dim)
    return MappedStore(pixels), [sample.key for sample, _ in entries], Labels(c_dim, labels)


def _name(path: str) -> str:
    """Return what a set of shards is called: the name of its files without numbers and endings."""
    stem = PurePosixPath(path.split("?")[0]).name.split(".tar")[0].split(".tgz")[0]
    for opening in "{*?[":
        stem = stem.split(opening)[0]
    return stem.strip("-_. ") or "shards"
