"""Near-duplicates while pictures stream by: everything kept so far is compared with the next one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capriccio.data.fingerprints import MAX_THUMBNAIL_DISTANCE, THUMBNAIL_SHAPE, difference_hash

_FIRST_ROOM = 1024


class LikenessIndex:
    """Thumbnails of kept pictures; 80 bytes each.

    The comparison is with all of them, also mirrored: a tenth of a millisecond per 100,000 pictures.
    """

    def __init__(self, max_distance: int) -> None:
        """Args: how many of the 64 bits of the difference hash may differ between near-duplicates."""
        self._max_distance = max_distance
        self._hashes = np.zeros(_FIRST_ROOM, dtype=np.uint64)
        self._thumbnails = np.zeros((_FIRST_ROOM, *THUMBNAIL_SHAPE), dtype=np.uint8)
        self._count = 0

    def __len__(self) -> int:
        """Number of pictures in the index."""
        return self._count

    def add(self, thumbnail: NDArray[np.uint8]) -> None:
        """Remember a picture, uint8 [8, 9]; its number is the length before."""
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
            self._thumbnails = np.concatenate([self._thumbnails, np.zeros_like(self._thumbnails)])
        self._hashes[self._count] = difference_hash(thumbnail[None])[0]
        self._thumbnails[self._count] = thumbnail
        self._count += 1

    def find(self, thumbnail: NDArray[np.uint8]) -> int | None:
        """Return the number of the most similar picture if it is a near-duplicate, mirrored or not, else None."""
        known = self._hashes[: self._count]
        best, best_distance = None, MAX_THUMBNAIL_DISTANCE
        for view in (thumbnail, np.ascontiguousarray(thumbnail[:, ::-1])):
            hash_ = difference_hash(view[None])[0]
            near = np.flatnonzero(np.bitwise_count(known ^ hash_) <= self._max_distance)
            if not len(near):
                continue
            levels = np.abs(self._thumbnails[near].astype(np.int16) - view).mean(axis=(1, 2))
            index = int(np.argmin(levels))
            if levels[index] <= best_distance:
                best, best_distance = int(near[index]), float(levels[index])
        return best
