"""The averaged generator: an exponential moving average with a half-life in images and a ramp-up."""

from __future__ import annotations

import torch

from capriccio.config import EmaConfig
from capriccio.networks.generator import Generator


def ema_beta(config: EmaConfig, *, nimg: int, batch: int) -> float:
    """Return the decay of one iteration, 0.5^(batch / half-life in images).

    Args:
        config: half-life and ramp-up.
        nimg: images seen before this iteration; while young, the half-life is ``config.rampup`` of it.
        batch: images of this iteration.

    Source: progressive GAN's averaging as StyleGAN2-ADA parametrises it.
    """
    half_life = config.half_life_kimg * 1000
    if config.rampup is not None:
        half_life = min(half_life, nimg * config.rampup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: Generator, generator: Generator, beta: float) -> None:
    """Move every parameter of ``average`` towards ``generator``; copy every buffer (noise maps, mean of w)."""
    torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - beta)
    torch._foreach_copy_(list(average.buffers()), list(generator.buffers()))
