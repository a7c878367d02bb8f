"""Kernel (inception) distance: squared maximum mean discrepancy under a cubic kernel, over random subsets.

Source: Bińkowski et al. 2018 (Demystifying MMD GANs), section 4. Not multiplied by 1000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NUM_SUBSETS = 100
SUBSET_SIZE = 1000


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """The mean over subsets, and how far subsets differ."""

    mean: float
    std: float
    """Deviation of the subsets (of n), as the literature reports it; that of the mean is smaller."""


def kernel_distance(fakes: Tensor, reals: Tensor, *, seed: int = 0) -> KernelDistance:
    """Return the distance over 100 subsets of 1,000 samples, or as many as there are.

    Args:
        fakes: features [n, d].
        reals: features [m, d].
        seed: of the subsets, drawn without replacement and apart for both sets.
    """
    size = min(len(fakes), len(reals), SUBSET_SIZE)
    values = [subset_distance(fakes[i], reals[j]) for i, j in _subsets(len(fakes), len(reals), size, seed)]
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def subset_distance(fakes: Tensor, reals: Tensor) -> float:
    """Return the distance of two sets of one size m, features [m, d]; a picture is not compared with itself."""
    x, y = fakes.double(), reals.double()
    m = len(x)
    within = sum(float(k.sum() - k.diagonal().sum()) for k in (_kernel(x, x), _kernel(y, y)))
    return (within / (m - 1) - 2 * float(_kernel(x, y).sum()) / m) / m


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    k = a @ b.T / a.shape[1] + 1
    return k * k * k  # a power of 3 takes thirty times as long


def _subsets(num_fakes: int, num_reals: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.RandomState(seed)
    for _ in range(NUM_SUBSETS):
        yield (
            torch.from_numpy(rng.choice(num_fakes, size, replace=False)),
            torch.from_numpy(rng.choice(num_reals, size, replace=False)),
        )
