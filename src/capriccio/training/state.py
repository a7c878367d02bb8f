"""Everything a run must remember between two iterations."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from capriccio.augmentation.controller import AdaController
from capriccio.config import RunConfig
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.training.optimizer import make_adam


@dataclass
class TrainingState:
    """The networks, their optimisers, and one clock: ``nimg``, the images shown to the discriminator."""

    generator: Generator
    discriminator: Discriminator
    generator_ema: Generator
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    pl_mean: Tensor
    """Running mean of path lengths, scalar."""
    augmentation: AdaController
    """How strongly pictures are augmented."""
    nimg: int = 0
    """Images shown to the discriminator."""
    iteration: int = 0
    """Iterations done; decides which regularisers run."""
    origin_licence: str | None = None
    """Licence of the network that the run started from; None = it started from random numbers."""
    warm_start_nimg: int | None = None
    """Where a run that was continued from a snapshot began: learning rates ramp up from there."""
    salt: int = 0
    """Raised when a run is taken back to a checkpoint because it diverged, so that it draws other numbers."""
    fp32_until_nimg: int = 0
    """After such a restart everything runs in float32 until here."""
    seconds: float = 0.0
    """Time spent training, over all sessions of the run."""
    frozen: list[str] = field(default_factory=list)
    """Names of parameters of the discriminator that do not learn."""


def new_state(config: RunConfig, device: torch.device) -> TrainingState:
    """Build the networks of a fresh run from ``config.seed``, the same on every device."""
    rng_state = torch.random.get_rng_state()
    torch.manual_seed(config.seed)
    generator = Generator(config.generator)
    discriminator = Discriminator(config.discriminator)
    torch.random.set_rng_state(rng_state)
    return assemble(config, generator, discriminator, copy.deepcopy(generator), device)


def assemble(
    config: RunConfig,
    generator: Generator,
    discriminator: Discriminator,
    generator_ema: Generator,
    device: torch.device,
) -> TrainingState:
    """Move networks to ``device`` and give them fresh optimisers."""
    generator.to(device).train()
    discriminator.to(device).train()
    generator_ema.to(device).eval().requires_grad_(False)
    for network in (generator, discriminator, generator_ema):
        network.set_forms(config.forms)
    frozen = discriminator.freeze()
    loss, adam = config.loss, config.optimizer
    pl_interval = loss.pl_interval if loss.pl_weight else None
    r1_interval = loss.r1_interval if loss.r1_gamma else None
    generator_optimizer = make_adam(generator.parameters(), adam, lr=adam.generator_lr, interval=pl_interval)
    discriminator_optimizer = make_adam(
        discriminator.parameters(), adam, lr=adam.discriminator_lr, interval=r1_interval
    )
    # Each phase switches on the parameters it steps; all others stay off, from the first iteration on.
    generator.requires_grad_(False)
    discriminator.requires_grad_(False)
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        generator_ema=generator_ema,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        pl_mean=torch.zeros((), device=device),
        augmentation=AdaController(config.augment, device),
        frozen=frozen,
    )
