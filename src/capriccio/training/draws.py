"""Every random number of an iteration, derived from (seed, nimg, phase) alone.

Nothing is carried from one iteration to the next, so a resumed run draws what the uninterrupted one would have drawn;
and everything is drawn for the whole batch, so N processes see the rows that one process would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from capriccio.augmentation.parameters import draw
from capriccio.augmentation.pipeline import Augmentation, plan
from capriccio.augmentation.pipes import transformations
from capriccio.config import AugmentConfig, GeneratorConfig, RunConfig
from capriccio.latent.random_labels import RandomLabels
from capriccio.latent.streams import stream
from capriccio.training.losses import GeneratorInputs
from capriccio.training.state import TrainingState

PhaseName = Literal["Gmain", "Greg", "Dmain", "Dreg"]
Occasion = PhaseName | Literal["overfitting"]
"""What random numbers are drawn for: a phase, or measuring overfitting at the end of a tick."""
PictureKind = Literal["fakes", "reals"]


class Draws(Protocol):
    """The random numbers of one iteration, for this process."""

    def generator_inputs(self, occasion: Occasion, round_index: int, count: int) -> GeneratorInputs:
        """Return what ``count`` pictures of one round are painted from."""
        ...

    def pl_noise(self, round_index: int, count: int) -> Tensor:
        """Return standard normal images for the path lengths of one round, [count, C, H, W]."""
        ...

    def augmentation(self, occasion: Occasion, kind: PictureKind, round_index: int, count: int) -> Augmentation | None:
        """Return what happens to ``count`` pictures of one round before the discriminator sees them; None = nothing."""
        ...


@dataclass(frozen=True)
class SeededDraws:
    """Draws for the iteration that begins at ``nimg``."""

    config: GeneratorConfig
    noise_shapes: tuple[tuple[int, int], ...]
    labels: RandomLabels
    mixing_prob: float
    seed: int
    salt: int
    """Changed when a run is taken back after it diverged."""
    augment: AugmentConfig
    augment_p: float
    """Probability of every augmentation now, before its multiplier."""
    fixed_shape: bool
    """Whether sizes of tensors must not depend on what was drawn, for compiled and for recorded phases."""
    nimg: int
    rank: int
    num_processes: int
    device: torch.device

    @classmethod
    def of_run(
        cls,
        config: RunConfig,
        state: TrainingState,
        labels: RandomLabels,
        *,
        device: torch.device,
        rank: int = 0,
        num_processes: int = 1,
    ) -> SeededDraws:
        """Return the draws of the iteration that ``state`` is about to begin, for one process of ``num_processes``."""
        return cls(
            config=config.generator,
            noise_shapes=tuple(state.generator.synthesis.noise_shapes()),
            labels=labels,
            mixing_prob=config.loss.mixing_prob,
            seed=config.seed,
            salt=state.salt,
            augment=config.augment,
            augment_p=state.augmentation.p,
            fixed_shape=config.compile or device.type == "cuda",
            nimg=state.nimg,
            rank=rank,
            num_processes=num_processes,
            device=device,
        )

    def generator_inputs(self, occasion: Occasion, round_index: int, count: int) -> GeneratorInputs:
        """Return what pictures of one round are painted from: see :class:`Draws`."""
        config = self.config
        count *= self.num_processes
        rng = stream(self.seed, self.salt, self.nimg, occasion, round_index)
        many = self._source_of_many(rng, occasion, round_index)
        z = torch.randn(count, config.z_dim, generator=many, device=many.device)
        z_mix = torch.randn(count, config.z_dim, generator=many, device=many.device)
        mixed = float(torch.rand((), generator=rng)) < self.mixing_prob
        cutoff = int(torch.randint(1, config.num_ws, (), generator=rng))
        rows = torch.arange(config.num_ws) >= (cutoff if mixed else config.num_ws)
        c = self.labels.random_labels(count, rng)
        noise = [torch.randn(count, 1, *size, generator=many, device=many.device) for size in self.noise_shapes]
        return GeneratorInputs(
            z=self._mine(z),
            z_mix=self._mine(z_mix),
            mixed_rows=rows.to(self.device, non_blocking=True),
            c=None if c is None else self._mine(c),
            noise=[self._mine(m) for m in noise],
        )

    def pl_noise(self, round_index: int, count: int) -> Tensor:
        """Return noise images of one round: see :class:`Draws`."""
        shape = self.config.shape
        rng = stream(self.seed, self.salt, self.nimg, "pl_noise", round_index, device=self._place_of_many)
        size = (count * self.num_processes, shape.channels, shape.height, shape.width)
        return self._mine(torch.randn(size, generator=rng, device=rng.device))

    def augmentation(self, occasion: Occasion, kind: PictureKind, round_index: int, count: int) -> Augmentation | None:
        """Return augmentations of one round: see :class:`Draws`."""
        if self.augment.mode == "none":
            return None
        shape = self.config.shape
        size = (shape.channels, shape.height, shape.width)
        rng = stream(self.seed, self.salt, self.nimg, occasion, "augmentation", kind, round_index)
        parameters = draw(transformations(self.augment), self.augment_p, count * self.num_processes, size, rng)
        rows = slice(self.rank, None, self.num_processes)
        return plan(parameters, size, rows=rows, device=self.device, fixed_shape=self.fixed_shape)

    @property
    def _place_of_many(self) -> torch.device:
        """Where the millions of normal numbers are drawn: a GPU draws its own, in no time; they would take a processor
        as long as the rest of the iteration takes the GPU."""
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def _source_of_many(self, rng: torch.Generator, occasion: Occasion, round_index: int) -> torch.Generator:
        place = self._place_of_many
        if place.type == "cpu":
            return rng
        return stream(self.seed, self.salt, self.nimg, occasion, round_index, "many", device=place)

    def _mine(self, whole: Tensor) -> Tensor:
        return whole[self.rank :: self.num_processes].to(self.device, non_blocking=True)
