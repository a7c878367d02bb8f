"""The projection of the StyleGAN2 paper, step for step.

Source: Karras et al. 2020, section 5 and its appendix; constants of the reference programs. One row of w and every
noise map are optimised by Adam against a perceptual distance; noise explores W for three quarters of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.inversion.noise_maps import noise_regularizer, normalize_noise
from capriccio.inversion.problem import Problem, Step
from capriccio.inversion.w_statistics import WStatistics
from capriccio.latent.streams import stream

LARGEST_SEEN = 256
"""The distance compares larger pictures at this side, reduced by area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialSettings:
    """Constants of the method; the defaults are those of the reference programs."""

    num_steps: int = 1000
    """Steps of Adam."""
    learning_rate: float = 0.1
    """The highest one."""
    rampup: float = 0.05
    """Share of the steps over which it rises from 0."""
    rampdown: float = 0.25
    """Share of the steps over which it falls to 0."""
    exploration: float = 0.05
    """Noise on w at the start, in spreads of W."""
    exploration_end: float = 0.75
    """Share of the steps after which w gets no more noise."""
    noise_weight: float = 1e5
    """Weight of the regulariser of noise maps."""
    seed: int = 303
    """Of noise maps and exploration."""


def learning_rate(t: float, settings: OfficialSettings) -> float:
    """Return the learning rate at t = step / steps."""
    ramp = min(1.0, (1.0 - t) / settings.rampdown)
    ramp = 0.5 - 0.5 * math.cos(math.pi * ramp)
    return settings.learning_rate * ramp * min(1.0, t / settings.rampup)


def exploration(t: float, settings: OfficialSettings) -> float:
    """Return the strength of noise on w at t, in spreads of W."""
    return settings.exploration * max(0.0, 1.0 - t / settings.exploration_end) ** 2


class OfficialProjector:
    """Every picture of a batch is projected as if it were alone."""

    def __init__(self, problem: Problem, statistics: WStatistics, settings: OfficialSettings) -> None:
        self._problem = problem
        self._statistics = statistics
        self._settings = settings
        count = len(problem.targets)
        device = problem.targets.device
        # One stream for each picture, and the same for all: a picture's projection depends on no neighbour.
        self._rng = stream(settings.seed, "official")
        self.w = statistics.mean.expand(count, -1).clone().requires_grad_()
        self.noise = [
            torch.randn(1, 1, *size, generator=self._rng).to(device).repeat(count, 1, 1, 1).requires_grad_()
            for size in problem.generator.synthesis.noise_shapes()
        ]

    def steps(self, w_noise: Tensor | None = None) -> Iterator[Step]:
        """Optimise, stopping after every step.

        Args:
            w_noise: standard normal draws [num_steps, w_dim] for the exploration; None = from the seed.
        """
        s, problem = self._settings, self._problem
        adam = torch.optim.Adam([self.w, *self.noise], betas=(0.9, 0.999), eps=1e-8, lr=s.learning_rate)
        goal = problem.goal(_as_seen)
        for step in range(s.num_steps):
            t = step / s.num_steps
            adam.param_groups[0]["lr"] = learning_rate(t, s)
            draw = torch.randn(1, self.w.shape[1], generator=self._rng) if w_noise is None else w_noise[step][None]
            explored = self.w + draw.to(self.w) * (self._statistics.std * exploration(t, s))
            images = problem.paint(explored[:, None].expand(-1, problem.generator.num_ws, -1), self.noise)
            distances = problem.distances(_as_seen(problem.shown(images)), goal)
            loss = distances.sum()
            if self.noise:
                loss = loss + s.noise_weight * noise_regularizer(self.noise).sum()
            adam.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            adam.step()
            normalize_noise(self.noise)
            yield Step(step=step + 1, num_steps=s.num_steps, distances=distances.detach(), images=images.detach())

    @property
    def ws(self) -> Tensor:
        """Latent rows found so far, all equal, [N, num_ws, w_dim]."""
        return self.w.detach()[:, None].repeat(1, self._problem.generator.num_ws, 1)


def _as_seen(images: Tensor) -> Tensor:
    """Reduce pictures larger than what the distance was made for, by whole factors."""
    factor = min(images.shape[2:]) // LARGEST_SEEN
    return functional.avg_pool2d(images, factor) if factor > 1 else images
