"""The cloud of a network's latents in W: 10,000 of them, drawn as the reference programs draw them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from capriccio.networks.generator import Generator

NUM_SAMPLES = 10_000
"""Latents whose statistics are taken."""

SEED = 123
"""Seed of NumPy's MT19937 they are drawn with; that of the reference programs."""

_CHUNK = 2048


@torch.no_grad()
def cloud(generator: Generator, c: Tensor | None = None, num_samples: int = NUM_SAMPLES) -> Tensor:
    """Return latents mapped without truncation, [num_samples, w_dim].

    Args:
        generator: the network.
        c: one label [1, c_dim] for all of them, for conditional networks.
        num_samples: how many.

    Source: the projection method of StyleGAN2, appendix D; seed and count are those of its program.
    """
    parameter = next(generator.mapping.parameters())
    drawn = np.random.RandomState(SEED).randn(num_samples, generator.config.z_dim)
    z = torch.from_numpy(drawn).to(parameter.dtype).to(parameter.device)  # no double precision on MPS
    labels = None if c is None else c.expand(num_samples, -1)
    parts = [slice(i, i + _CHUNK) for i in range(0, num_samples, _CHUNK)]
    return torch.cat([generator.mapping(z[p], None if labels is None else labels[p]) for p in parts])


def spread(latents: Tensor) -> float:
    """Return the root of the mean squared distance of ``latents`` [n, w_dim] from their mean: one number for all
    components.
    """
    return float((latents - latents.mean(dim=0)).square().sum(dim=1).mean().sqrt())
