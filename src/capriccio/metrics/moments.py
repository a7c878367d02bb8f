"""Mean and covariance of features, streamed in float64, and the Fréchet distance of two of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.errors import UsageError


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over feature vectors: all that a Fréchet distance needs, whatever their number."""

    count: int
    """Vectors seen."""
    total: Tensor
    """Σ f, float64 [d]."""
    products: Tensor
    """Σ f fᵀ, float64 [d, d]."""

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the sums over ``features`` [n, d]."""
        f = features.double().cpu()
        return cls(len(f), f.sum(dim=0), f.T @ f)

    @property
    def mean(self) -> Tensor:
        """Mean, [d]."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Covariance, divided by the count (biased), [d, d], as the field's PyTorch programs have it."""
        return self.products / self.count - torch.outer(self.mean, self.mean)


class MomentSums:
    """Takes in features part by part; memory does not grow with their number."""

    PART = 1024
    """Vectors multiplied at once: a product of few rows would spend its time on the d×d sums."""

    def __init__(self, num_features: int) -> None:
        self._count = 0
        self._total = torch.zeros(num_features, dtype=torch.float64)
        self._products = torch.zeros(num_features, num_features, dtype=torch.float64)
        self._waiting: list[Tensor] = []

    def add(self, features: Tensor) -> None:
        """Take in ``features`` [n, d]."""
        self._waiting.append(features)
        if sum(map(len, self._waiting)) >= self.PART:
            self._flush()

    def moments(self) -> Moments:
        """Return the sums over everything taken in."""
        self._flush()
        return Moments(self._count, self._total, self._products)

    def _flush(self) -> None:
        if self._waiting:
            f = torch.cat(self._waiting).double().cpu()
            self._waiting.clear()
            self._count += len(f)
            self._total += f.sum(dim=0)
            self._products.addmm_(f.T, f)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2·(Σ_a Σ_b)^½).

    The trace of the root is the sum of the roots of the eigenvalues of Σ_a^½ Σ_b Σ_a^½, which is symmetric: no root of
    a non-symmetric matrix, no imaginary parts to drop.

    Raises: UsageError if the features have different lengths.
    Source: Heusel et al. 2017 (FID), equation 6; Dowson and Landau 1982.
    """
    if a.mean.shape != b.mean.shape:
        raise UsageError(f"a Fréchet distance needs features of one length, got {len(a.mean)} and {len(b.mean)}.")
    cov_a, cov_b = a.covariance, b.covariance
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    eigenvalues = torch.linalg.eigvalsh(root @ cov_b @ root)
    trace = cov_a.trace() + cov_b.trace() - 2 * eigenvalues.clamp(min=0).sqrt().sum()
    # It is not negative; rounding may make it so for equal sets.
    return max(float((a.mean - b.mean).square().sum() + trace), 0.0)
