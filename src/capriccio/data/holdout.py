"""Pictures set aside before anything is learnt, to measure memorisation and overfitting with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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
    return np.array(sorted(_choose(near_duplicate_groups(thumbnails), digests, count)), dtype=np.int64)


def choose_heldout_of_grown(
    digests: NDArray[np.uint8], thumbnails: NDArray[np.uint8], asked: int | None, stages: Sequence[int]
) -> NDArray[np.int64]:
    """Choose held-out pictures of a set that grew while a run went on: what was held out stays so, as does the rest.

    New pictures follow the old ones that they resemble. Of the others the usual share is held out by default, none
    where a number was asked for.

    Args:
        digests: content hashes, uint8 [N, 32]; of each stage those of the stage before come first.
        thumbnails: likenesses, uint8 [N, 8, 9].
        asked: how many the run was to hold out at its beginning; None = 5 %, at most 1,000.
        stages: numbers of pictures that the set had before, oldest first; none = it never grew.

    Returns: sorted rows, int64.
    """
    first, *later = [*stages, len(digests)]
    chosen = set(choose_heldout(digests[:first], thumbnails[:first], num_heldout(first, asked)).tolist())
    for start, end in pairwise([first, *later]):
        unknown = []
        for group in near_duplicate_groups(thumbnails[:end]):
            old = [row for row in group if row < start]
            if chosen.intersection(old):
                chosen.update(row for row in group if row >= start)
            elif not old:
                unknown.append(group)
        room = max(DEFAULT_MOST - len(chosen), 0)
        count = min(int((end - start) * DEFAULT_SHARE), room) if asked is None else 0
        chosen.update(_choose(unknown, digests, count))
    return np.array(sorted(chosen), dtype=np.int64)


def _choose(groups: Sequence[Sequence[int]], digests: NDArray[np.uint8], count: int) -> list[int]:
    """Return at most ``count`` rows of whole groups, in the order of their smallest content hash."""
    chosen: list[int] = []
    for group in sorted(groups, key=lambda rows: min(digests[row].tobytes() for row in rows)) if count else ():
        if len(group) <= count - len(chosen):
            chosen += group
        if len(chosen) == count:
            break
    return chosen
