"""Pictures painted ahead for visitors who do not mind which one they get."""

from __future__ import annotations

import secrets
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import replace

from capriccio.config import MAX_SEED
from capriccio.studio.recipes import Order, Recipe
from capriccio.studio.worker import Waiting


def random_seed() -> int:
    """Return a seed nobody can foretell."""
    return secrets.randbelow(MAX_SEED + 1)


class Pool:
    """Files of random pictures, ready to be sent; each is given away once.

    Args:
        template: how they are made; each gets a seed of its own.
        size: how many are kept; 0 = none.
    """

    def __init__(self, template: Order, size: int) -> None:
        self.template, self.size = replace(template, fast=True), size
        self._ready: deque[tuple[int, bytes]] = deque()
        self._coming = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ready)

    def take(self) -> tuple[int, bytes] | None:
        """Return (seed, file), or None when the pool is empty."""
        with self._lock:
            return self._ready.popleft() if self._ready else None

    def serves(self, order: Order) -> bool:
        """Whether ``order``, whatever its seed, is what lies in the pool."""
        same = replace(order.recipe, origin=self.template.recipe.origin)
        return replace(order, recipe=same, fast=True) == self.template

    def refill(self, count: int) -> list[Waiting]:
        """Return orders for the pictures that lack, at most ``count``, once a whole batch of them does."""
        with self._lock:
            lack = self.size - len(self._ready) - self._coming
            if lack < min(count, self.size):
                return []
            lack = min(lack, count)
            self._coming += lack
        return [self._wanted() for _ in range(lack)]

    def _wanted(self) -> Waiting:
        seed = random_seed()
        order = replace(self.template, recipe=Recipe(origin=seed, look=self.template.recipe.look))
        future: Future[bytes] = Future()
        future.add_done_callback(lambda done: self._arrived(seed, done))
        return order, future

    def _arrived(self, seed: int, done: Future[bytes]) -> None:
        with self._lock:
            self._coming -= 1
            if done.cancelled() or done.exception() is not None:
                self.size = 0  # a network that cannot paint would be asked again without end
            else:
                self._ready.append((seed, done.result()))
