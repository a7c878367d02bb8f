"""Lanes of a stream: each reads its share of the shards in an order of its own, and can say exactly where it stands.

A lane reads its shards one after another, in another order every epoch, and collects pictures into *chunks* that are
shuffled whole. A position is where a chunk began, how much was read from each shard for it, and how many of its
pictures were given out; from that a lane reads the same chunk again, even if a shard failed in the middle of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from capriccio.background import in_background
from capriccio.data.pictures import PictureError, Pixels
from capriccio.data.shards import Sample, read_shard
from capriccio.errors import DatasetError, JobError

TRIES = 5
"""Attempts that may fail one after another before a shard is given up for this epoch."""

WAIT_SECONDS = 1.0
"""Before the second attempt; doubles with each."""

_MOST_BARREN = 8
"""Different shards, one after another, that may give no picture: then it is the server that is gone."""

PATIENCE_SECONDS = 10.0
"""When training waits longer for a shard, the log names it."""

_NAMED_PICTURES = 3
"""Pictures that cannot be used are named in the log up to this many per lane."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as it is trained on."""

    pixels: Pixels
    """uint8 [C, H, W]."""
    label: NDArray[np.float32]
    """[c_dim]."""


class Intake(Protocol):
    """Makes pictures of samples."""

    def __call__(self, sample: Sample) -> Picture | None:
        """Return the picture of a sample, None if it is set aside. Raises: PictureError if it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next sample of a lane lies."""

    epoch: int = 0
    turn: int = 0
    """Which of the lane's shards in the order of the epoch."""
    sample: int = 0
    """Which sample of the shard."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Pictures that were read together, in shuffled order."""

    start: Cursor
    end: Cursor
    reads: tuple[int, ...]
    """Samples read from each shard, one after another."""
    pictures: Sequence[Picture]


class Lane:
    """Reads the shards ``l``, ``l + L``, … of every epoch's order.

    Args:
        shards: addresses of all shards.
        index: l.
        num_lanes: L, at most the number of shards.
        seed: of the order of shards, of shuffling and of mirroring.
        chunk_size: pictures that are shuffled together.
        mirror: whether every picture is mirrored with probability ½.
        intake: makes pictures of samples.
        say: receives lines about shards that fail.
    """

    def __init__(
        self,
        shards: Sequence[str],
        *,
        index: int,
        num_lanes: int,
        seed: int,
        chunk_size: int,
        mirror: bool,
        intake: Intake,
        say: Say,
    ) -> None:
        self._shards = shards
        self._index = index
        self._num_lanes = num_lanes
        self._seed = seed
        self._chunk_size = chunk_size
        self._mirror = mirror
        self._intake = intake
        self._say = say
        self._open: tuple[Cursor, Iterator[Sample]] | None = None
        """A shard that was read up to the cursor, and what follows."""
        self._unusable = 0
        self.address = ""
        """The shard that is being read."""

    def shards_of(self, epoch: int) -> list[str]:
        """Return the addresses that this lane reads in an epoch, in order."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._shards))
        return [self._shards[i] for i in order[self._index :: self._num_lanes]]

    def progress(self, cursor: Cursor) -> float:
        """Return how many epochs of its shards lie behind ``cursor``."""
        return cursor.epoch + cursor.turn / len(self.shards_of(cursor.epoch))

    def read(self, start: Cursor, planned: Sequence[int] = ()) -> Chunk:
        """Read the chunk that begins at ``start``.

        Args:
            start: its first sample.
            planned: samples to read from each shard, as the chunk had them before; empty = until it is full.

        Raises: JobError when many shards in a row give no picture; DatasetError for a label that does not fit.
        """
        pictures: list[Picture] = []
        reads: list[int] = []
        cursor, barren = start, set[str]()
        while True:
            limit = planned[len(reads)] if planned else None
            found, count = self._read_shard(cursor, limit, self._chunk_size - len(pictures))
            pictures += found
            reads.append(count)
            barren = set() if found else barren | {self.address}
            if len(reads) == len(planned) or (not planned and len(pictures) == self._chunk_size):
                # A shard that was left behind in the middle stays so when the chunk is read again.
                cursor = Cursor(cursor.epoch, cursor.turn, cursor.sample + count)
                return Chunk(start, cursor, tuple(reads), self._shuffled(start, pictures))
            cursor = self._following(cursor)
            if len(barren) >= min(_MOST_BARREN, len(self._shards)):
                raise JobError(
                    f"no picture came from {len(barren)} shards one after another, the last '{self.address}'; the log "
                    "says why. Everything saved is kept: --resume goes on when they can be read."
                )

    def _read_shard(self, cursor: Cursor, limit: int | None, room: int) -> tuple[list[Picture], int]:
        """Read on at ``cursor`` until ``limit`` samples, or else until ``room`` pictures; return also what was read."""
        self.address = self.shards_of(cursor.epoch)[cursor.turn]
        samples = self._opened(cursor)
        pictures: list[Picture] = []
        count = 0
        try:
            while (count < limit) if limit is not None else (len(pictures) < room):
                sample = next(samples, None)
                if sample is None:
                    return pictures, count
                count += 1
                picture = self._taken_in(sample)
                if picture is not None:
                    pictures.append(picture)
        except _ShardFailedError as error:
            self._say(f"Warning: {error}; it is left out for this epoch.")
            return pictures, count
        self._open = (Cursor(cursor.epoch, cursor.turn, cursor.sample + count), samples)
        return pictures, count

    def _opened(self, cursor: Cursor) -> Iterator[Sample]:
        """Return the samples of the current shard from ``cursor`` on, going on where the last chunk ended."""
        if self._open is not None and self._open[0] == cursor:
            return self._open[1]
        return _samples(self.address, cursor.sample, self._say)

    def _taken_in(self, sample: Sample) -> Picture | None:
        try:
            return self._intake(sample)
        except PictureError as error:
            self._unusable += 1
            if self._unusable <= _NAMED_PICTURES:
                self._say(f"Left out '{sample.key}' of shard '{self.address}': it {error}.")
            return None

    def _following(self, cursor: Cursor) -> Cursor:
        """Return the beginning of the lane's next shard."""
        last = cursor.turn + 1 == len(self.shards_of(cursor.epoch))
        return Cursor(cursor.epoch + 1) if last else Cursor(cursor.epoch, cursor.turn + 1)

    def _shuffled(self, start: Cursor, pictures: Sequence[Picture]) -> list[Picture]:
        rng = np.random.default_rng([self._seed, self._index, start.epoch, start.turn, start.sample])
        order = rng.permutation(len(pictures))
        mirrored = rng.random(len(pictures)) < 0.5 if self._mirror else np.zeros(len(pictures), dtype=bool)
        return [
            Picture(np.ascontiguousarray(p.pixels[:, :, ::-1]), p.label) if flip else p
            for p, flip in zip((pictures[i] for i in order), mirrored, strict=True)
        ]


class _ShardFailedError(Exception):
    """A shard failed as often as it may."""


def _samples(address: str, skip: int, say: Say) -> Iterator[Sample]:
    """Yield the samples of a shard from ``skip`` on; say each time that it has to be opened again."""

    def hold_on(seconds: float) -> None:
        say(f"Shard '{address}' broke off; it is opened again in {seconds:g} s.")
        time.sleep(seconds)

    try:
        yield from read_shard(address, skip=skip, tries=TRIES, wait_seconds=WAIT_SECONDS, sleep=hold_on)
    except DatasetError as error:
        raise _ShardFailedError(str(error).rstrip(".")) from error


class LaneStream:
    """The endless pictures of one lane; the next chunk is read while this one is given out."""

    def __init__(self, make_lane: Callable[[], Lane], say: Say) -> None:
        """Args: makes a lane that was not read yet; receives lines about shards that training waits for."""
        self._make_lane = make_lane
        self._say = say
        self._chunk: Chunk | None = None
        """The chunk that is given out; None while the first one is still read."""
        self._asked = Cursor(), tuple[int, ...]()
        """Where the first chunk begins, and the samples it had from each shard if it was read before."""
        self._given_out = 0
        self._lane = make_lane()
        self._coming: Future[Chunk] | None = None

    def start(self) -> None:
        """Begin to read, so that several lanes can read their first chunks at the same time."""
        if self._coming is None:
            self._coming = in_background(partial(self._lane.read, *self._asked), name="lane")

    def next(self) -> Picture:
        """Return the next picture. Raises: as :meth:`Lane.read`."""
        while self._chunk is None or self._given_out >= len(self._chunk.pictures):
            if self._chunk is not None:
                self._given_out = 0
            self._chunk = self._awaited()
            self._coming = in_background(partial(self._lane.read, self._chunk.end), name="lane")
        picture = self._chunk.pictures[self._given_out]
        self._given_out += 1
        return picture

    def epochs(self) -> float:
        """Return how often the lane went through its shards."""
        return self._lane.progress(self._start)

    def position(self) -> list[int]:
        """Return where the lane stands: cursor of the chunk, pictures given out, samples read from each shard."""
        start = self._start
        return [start.epoch, start.turn, start.sample, self._given_out, *self._reads]

    def go_to(self, position: Sequence[int]) -> None:
        """Go on from :meth:`position`."""
        epoch, turn, sample, self._given_out, *reads = position
        self._chunk, self._asked = None, (Cursor(epoch, turn, sample), tuple(reads))
        # A chunk that is still being read in the background has the old lane to itself.
        self._lane, self._coming = self._make_lane(), None

    @property
    def _start(self) -> Cursor:
        return self._asked[0] if self._chunk is None else self._chunk.start

    @property
    def _reads(self) -> tuple[int, ...]:
        return self._asked[1] if self._chunk is None else self._chunk.reads

    def _awaited(self) -> Chunk:
        self.start()
        assert self._coming is not None
        waited = 0.0
        while not wait([self._coming], timeout=PATIENCE_SECONDS).done:
            waited += PATIENCE_SECONDS
            self._say(f"Training waits for shard '{self._lane.address}', {waited:.0f} s until now.")
        return self._coming.result()
