"""Pictures set aside before anything is learnt, to measure memorisation and overfitting with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from capriccio.data.fingerprints import near_duplicate_groups
from capriccio.errors import DatasetError

DEFAULT_SHARE = 0.05
DEFAULT_MOST = 1000


def num_heldout(count: int, asked: int | None) -> int:
    """Return how many of ``count`` pictures to set aside; ``asked`` None = 5 %, rounded down, at most 1,000.

    Raises: DatasetError if none would be left to train on.
    """
    if asked is None:
        return min(int(count * DEFAULT_SHARE), DEFAULT_MOST)
    if not 0 <= asked < count:
        raise DatasetError(f"--holdout {asked} of {count} pictures leaves none to train on; give 0..{count - 1}.")
    return asked


def choose_heldout(digests: NDArray[np.uint8], thumbnails: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Choose ``count`` pictures by their content alone, so that file names, order and encoding do not matter.

    Near-duplicates stay on one side: whole groups are taken in the order of their smallest content hash, and a group
    that no longer fits is passed over, so that fewer may come back when nearly everything is alike.

    Args:
        digests: content hashes, uint8 [N, 32].
        thumbnails: likenesses, uint8 [N, 8, 9].
        count: how many to choose.

    Returns: sorted rows, int64 [≤ count].
    """
    chosen: list[int] = []
    if count:
        keys = [row.tobytes() for row in digests]
        groups = near_duplicate_groups(thumbnails)
        for group in sorted(groups, key=lambda rows: min(keys[row] for row in rows)):
            if len(group) <= count - len(chosen):
                chosen += group
            if len(chosen) == count:
                break
    return np.array(sorted(chosen), dtype=np.int64)
