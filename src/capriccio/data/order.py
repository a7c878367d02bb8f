"""The order in which training meets the pictures: an endless shuffled stream that can be stopped and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 0.5
"""Share of the data set within which a picture just shown may be swapped away."""


class EndlessOrder:
    """Endless shuffled stream of indices that never restarts an epoch.

    The stream begins with a shuffle of 0…L−1. At step t it emits the index at position i = t mod L and, to keep later
    rounds different, swaps it with a position drawn from the window of w = round(L/2) positions that end in i. So an
    item rests for at least L − w steps before it is shown again.
    Several processes share one stream: each walks through all of it and takes its own steps.

    Args:
        num_items: L, number of items.
        seed: of the random generator (MT19937).
        window: w as a share of ``num_items``; below two positions nothing is swapped.

    Source: the field's published training order, fixed by stored numbers (``tests/golden/dataset_*.npz``).
    """

    def __init__(self, num_items: int, seed: int, *, window: float = WINDOW) -> None:
        if num_items < 1:
            raise ValueError(f"num_items must be at least 1, got {num_items}.")
        self._window = round(num_items * window)
        self._rng = np.random.RandomState(seed)
        self._order = np.arange(num_items, dtype=np.int64)
        self._rng.shuffle(self._order)
        self._step = 0

    def __len__(self) -> int:
        """Number of different items; the stream itself never ends."""
        return len(self._order)

    def next(self, count: int) -> NDArray[np.int64]:
        """Return the next ``count`` indices, int64 [count]."""
        if count < 0:
            raise ValueError(f"count must be at least 0, got {count}.")
        indices = np.empty(count, dtype=np.int64)
        order, length = self._order, len(self._order)
        draws = self._rng.randint(self._window, size=count).tolist() if self._window >= 2 else None
        for k in range(count):
            i = (self._step + k) % length
            indices[k] = order[i]
            if draws is not None:
                j = (i - draws[k]) % length
                order[i], order[j] = order[j], order[i]
        self._step += count
        return indices

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return everything the stream must remember, as arrays; ``tolist()`` of each makes it JSON."""
        _, keys, position, _, _ = self._rng.get_state(legacy=True)
        return {
            "step": np.array(self._step, dtype=np.int64),
            "order": self._order.copy(),
            "rng_keys": np.array(keys, dtype=np.uint32),
            "rng_position": np.array(position, dtype=np.int64),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken; nothing is replayed.

        Raises: ValueError if the state belongs to another number of items.
        """
        order = np.array(state["order"], dtype=np.int64)
        if len(order) != len(self._order):
            raise ValueError(f"the saved order is over {len(order)} items, this data set has {len(self._order)}.")
        self._order = order
        self._step = int(state["step"])
        self._load_rng(state)

    def load_grown(self, state: Mapping[str, Any], renumbered: NDArray[np.int64]) -> None:
        """Go on where :meth:`state_dict` was taken over fewer items; the others enter at random places from here on.

        Old items come in the order in which they would have come; the stream counts its steps anew.

        Args:
            state: of the stream over the old items.
            renumbered: which item of this stream each old item is now, int64 [number of old items].

        Raises: ValueError if the state is not over the old items.
        """
        order = np.array(state["order"], dtype=np.int64)
        if len(order) != len(renumbered):
            raise ValueError(f"the saved order is over {len(order)} items, not over {len(renumbered)}.")
        self._load_rng(state)
        coming = np.roll(renumbered[order], -(int(state["step"]) % len(order)))
        entering = np.setdiff1d(np.arange(len(self)), renumbered)
        self._rng.shuffle(entering)
        places = np.sort(self._rng.randint(len(order) + 1, size=len(entering)))
        self._order = np.insert(coming, places, entering)
        self._step = 0

    def _load_rng(self, state: Mapping[str, Any]) -> None:
        keys = np.array(state["rng_keys"], dtype=np.uint32)
        self._rng.set_state(("MT19937", keys, int(state["rng_position"]), 0, 0.0))
