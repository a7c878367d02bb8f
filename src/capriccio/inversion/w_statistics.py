"""Where the latents of a network lie in W: centre, spread, and coordinates in which their cloud is round."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.latent.cloud import NUM_SAMPLES, cloud, spread
from capriccio.networks.generator import Generator

_SMALLEST_SPREAD = 1e-3
"""Axes are at least this share of the widest one, so that a step along any of them moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WStatistics:
    """The cloud of mapped latents."""

    mean: Tensor
    """Its centre, [w_dim]."""
    std: float
    """Root of the mean squared distance from the centre: one number, not one for each component."""
    root: Tensor
    """Square root of the cloud's covariance, [w_dim, w_dim]: w = mean + root·v, where v of the network's own latents
    has mean 0 and covariance 1. The symmetric root: principal axes would do, but their signs and order are chance."""
    inverse_root: Tensor
    """Its inverse."""
    latents: Tensor
    """The latents themselves, [num_samples, w_dim]."""

    def to_w(self, v: Tensor) -> Tensor:
        """Return w [..., w_dim] of whitened latents [..., w_dim]."""
        return self.mean + v @ self.root

    def to_v(self, w: Tensor) -> Tensor:
        """Return whitened latents [N, w_dim] of w [N, w_dim]."""
        return (w - self.mean) @ self.inverse_root


@torch.no_grad()
def w_statistics(generator: Generator, c: Tensor | None = None, num_samples: int = NUM_SAMPLES) -> WStatistics:
    """Return the statistics of latents mapped without truncation.

    Args:
        generator: the network.
        c: one label [1, c_dim] for all of them, for conditional networks.
        num_samples: how many.
    """
    latents = cloud(generator, c, num_samples)
    mean = latents.mean(dim=0)
    offsets = latents - mean
    # In double precision: small axes of a cloud with a wide one are lost in single.
    covariance = offsets.double().T @ offsets.double() / num_samples
    values, vectors = torch.linalg.eigh(covariance.cpu())
    spreads = values.clamp(min=0).sqrt()
    spreads = spreads.clamp(min=max(float(spreads[-1]) * _SMALLEST_SPREAD, torch.finfo(torch.float32).tiny))
    root, inverse_root = (((vectors * scale) @ vectors.T).to(latents) for scale in (spreads, 1 / spreads))
    return WStatistics(mean=mean, std=spread(latents), root=root, inverse_root=inverse_root, latents=latents)
