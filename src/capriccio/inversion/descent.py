"""Small steps that make the named distance smaller: Adam in whitened coordinates, from a point that is near already."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.inversion.problem import Problem
from capriccio.inversion.w_statistics import WStatistics

_RAMPDOWN = 0.4
_RAMPUP_STEPS = 3
_BETAS = (0.9, 0.99)
_EPSILON = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class DescentSettings:
    """Constants of the steps."""

    num_steps: int
    """Most steps."""
    learning_rate: float = 0.05
    """The highest one, in spreads of W along each axis."""
    prior: float = 0.1
    """Cost of lying farther from the centre than the network's own latents do, mean over axes."""
    noise_cost: float = 1e-5
    """Cost of a squared value of a noise map."""
    patience: int = 20
    """Steps without improvement by 1 % after which a picture is done."""


class Descent:
    """A batch of pictures, each as if it were alone; the best point of each is kept."""

    def __init__(
        self, problem: Problem, statistics: WStatistics, settings: DescentSettings, v: Tensor, noise: list[Tensor]
    ) -> None:
        """Start from whitened latents ``v``, [N, w_dim] for one row or [N, num_ws, w_dim] for a row each.

        ``noise``: maps [N, 1, H, W] that are variables too; empty = painted with the network's own.
        """
        self._problem, self._statistics, self._settings = problem, statistics, settings
        self._variables = [v.clone(), *(n.clone() for n in noise)]
        self._moments = [(torch.zeros_like(x), torch.zeros_like(x)) for x in self._variables]
        self._best = [x.clone() for x in self._variables]
        self.distances = torch.full((len(v),), math.inf, device=v.device)
        """The smallest distance of each picture, [N]."""
        self.images = torch.zeros_like(problem.targets)
        """What it belongs to, [N, C, H, W]."""

    @property
    def ws(self) -> Tensor:
        """The best latent rows, [N, num_ws, w_dim]."""
        return self._rows(self._best[0])

    @property
    def noise(self) -> list[Tensor] | None:
        """The noise maps that go with them; None = the network's own."""
        return self._best[1:] or None

    def steps(self) -> Iterator[None]:
        """Optimise, stopping after every step; pictures that are done leave the batch."""
        s, problem = self._settings, self._problem
        goal = problem.goal()
        active = torch.arange(len(problem.targets), device=problem.targets.device)
        lowest = torch.full_like(self.distances, math.inf)
        since = torch.zeros(len(active), dtype=torch.long, device=active.device)
        for step in range(s.num_steps):
            part = problem.rows(active)
            point, *maps = (x[active].requires_grad_() for x in self._variables)
            images = part.paint(self._rows(point), maps or None)
            distances = part.distances(part.shown(images), goal[active])
            loss = distances + s.prior * functional.relu(point.square().flatten(1).mean(dim=1) - 1)
            for noise in maps:
                loss = loss + s.noise_cost * noise.square().flatten(1).sum(dim=1)
            gradients = torch.autograd.grad(loss.sum(), [point, *maps])
            found = distances.detach()
            self._remember(active, found, images.detach(), [point, *maps])

            improved = found < 0.99 * lowest[active]
            lowest[active] = torch.minimum(lowest[active], found)
            since[active] = torch.where(improved, 0, since[active] + 1)
            rate = s.learning_rate * _schedule(step, s.num_steps)
            for variable, moments, gradient in zip(self._variables, self._moments, gradients, strict=True):
                _adam(variable, moments, gradient, active, step, rate)
            yield
            active = active[since[active] < s.patience]
            if not len(active):
                return

    @torch.no_grad()
    def _remember(self, active: Tensor, distances: Tensor, images: Tensor, points: list[Tensor]) -> None:
        better = distances < self.distances[active]
        rows = active[better]
        self.distances[rows] = distances[better]
        self.images[rows] = images[better]
        for best, point in zip(self._best, points, strict=True):
            best[rows] = point.detach()[better]

    def _rows(self, v: Tensor) -> Tensor:
        w = self._statistics.to_w(v)
        return w if w.ndim == 3 else w[:, None].expand(-1, self._problem.generator.num_ws, -1)


def _schedule(step: int, num_steps: int) -> float:
    """Share of the learning rate: a few steps up, a cosine down over the last part."""
    down = min(1.0, (1.0 - step / num_steps) / _RAMPDOWN)
    return (0.5 - 0.5 * math.cos(math.pi * down)) * min(1.0, (step + 1) / _RAMPUP_STEPS)


@torch.no_grad()
def _adam(
    variable: Tensor, moments: tuple[Tensor, Tensor], gradient: Tensor, rows: Tensor, step: int, rate: float
) -> None:
    """One step of Adam on some rows; each row has moments of its own, so no picture depends on its batch."""
    first, second = moments
    first[rows] = first[rows].lerp(gradient, 1 - _BETAS[0])
    second[rows] = second[rows].lerp(gradient.square(), 1 - _BETAS[1])
    mean = first[rows] / (1 - _BETAS[0] ** (step + 1))
    spread = (second[rows] / (1 - _BETAS[1] ** (step + 1))).sqrt()
    variable[rows] -= rate * mean / (spread + _EPSILON)
