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
    def zero(cls, num_features: int) -> Moments:
        """Return the sums over no vectors."""
        return cls(0, torch.zeros(num_features, dtype=torch.float64), torch.zeros((num_features,) * 2).double())

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the sums over ``features`` [n, d]."""
        f = features.double().cpu()
        return cls(len(f), f.sum(dim=0), f.T @ f)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """Mean, [d]."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """Covariance, divided by the count (biased), [d, d], as the field's PyTorch programs have it."""
        return self.products / self.count - torch.outer(self.mean, self.mean)


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
