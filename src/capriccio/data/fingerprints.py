"""What identifies a picture by its content: an exact hash, and a small likeness for finding near-duplicates."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from capriccio.data.pictures import Pixels

DIGEST_BYTES = 32
THUMBNAIL_SHAPE = (8, 9)
"""Rows and columns of a thumbnail; eight comparisons of neighbours per row make a 64-bit difference hash."""

MAX_HASH_DISTANCE = 3
"""Near-duplicates differ in at most this many of 64 bits; four bands of 16 bits then agree in at least one."""
MAX_THUMBNAIL_DISTANCE = 6.0
"""And their thumbnails differ by at most this many grey levels on average."""

_BANDS = 4


def digest(pixels: Pixels) -> NDArray[np.uint8]:
    """Return the SHA-256 of shape and decoded pixels [C, H, W], uint8 [32]: independent of file name and encoding."""
    header = "×".join(map(str, pixels.shape)).encode()
    return np.frombuffer(hashlib.sha256(header + pixels.tobytes()).digest(), dtype=np.uint8)


def thumbnail(pixels: Pixels) -> NDArray[np.uint8]:
    """Return a picture [C, H, W] in grey, box-averaged to uint8 [8, 9]."""
    colour = pixels[:3] if len(pixels) == 4 else pixels
    grey = Image.fromarray(colour.mean(axis=0, dtype=np.float32))
    small = np.asarray(grey.resize(THUMBNAIL_SHAPE[::-1], Image.Resampling.BOX))
    rounded: NDArray[np.uint8] = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return rounded


def likeness(grey: Image.Image) -> NDArray[np.uint8]:
    """Return a thumbnail of a whole photograph in grey, whatever part of it will be used, uint8 [8, 9]."""
    return np.asarray(grey.resize(THUMBNAIL_SHAPE[::-1], Image.Resampling.BOX))


def difference_hash(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the 64-bit difference hash of thumbnails [N, 8, 9]: is a pixel brighter than its left neighbour?"""
    brighter = thumbnails[:, :, 1:] > thumbnails[:, :, :-1]
    packed: NDArray[np.uint8] = np.packbits(brighter.reshape(len(thumbnails), 64), axis=1)
    return packed.view(np.uint64)[:, 0]


def near_duplicate_groups(thumbnails: NDArray[np.uint8]) -> list[list[int]]:
    """Return all pictures in groups of near-duplicates, also mirrored ones; most groups hold one picture.

    Args:
        thumbnails: uint8 [N, 8, 9], see :func:`thumbnail`.
    """
    count = len(thumbnails)
    both = np.concatenate([thumbnails, thumbnails[:, :, ::-1]])
    parent = list(range(count))
    for first, second in _similar_pairs(both, count):
        parent[_root(parent, first)] = _root(parent, second)
    groups: dict[int, list[int]] = defaultdict(list)
    for item in range(count):
        groups[_root(parent, item)].append(item)
    return list(groups.values())


def _similar_pairs(both: NDArray[np.uint8], count: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of pictures that look alike; rows ``count``… of ``both`` are the mirrored thumbnails."""
    hashes = difference_hash(both)
    bands = hashes.view(np.uint16).reshape(len(hashes), _BANDS)
    levels = both.reshape(len(both), -1).astype(np.int16)
    for band in range(_BANDS):
        order = np.argsort(bands[:, band], kind="stable")
        starts = np.flatnonzero(np.diff(bands[order, band], prepend=-1))
        for bucket in np.split(order, starts[1:]):
            upright = bucket[bucket < count]
            for position, item in enumerate(upright):
                # Each pair is met upright–upright or upright–mirrored; mirrored–mirrored would say the same again.
                others = np.concatenate([upright[position + 1 :], bucket[bucket >= count]])
                others = others[np.bitwise_count(hashes[others] ^ hashes[item]) <= MAX_HASH_DISTANCE]
                distance = np.abs(levels[others] - levels[item]).mean(axis=1)
                for other in others[distance <= MAX_THUMBNAIL_DISTANCE]:
                    yield int(item), int(other) % count


def _root(parent: list[int], item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item
