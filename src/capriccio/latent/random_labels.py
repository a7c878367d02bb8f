"""Labels of random pictures: what a conditional network is given beside random latents."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class RandomLabels(Protocol):
    """Where the labels of fakes come from: those of uniformly random pictures of the data set."""

    def random_labels(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Return [count, c_dim]; None when unconditional."""
        ...


class NoLabels:
    """Those of an unconditional network."""

    def random_labels(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Return None."""
        return None
