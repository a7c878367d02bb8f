"""Projection in a fraction of the steps: a good start, and steps along the axes of W.

Two things make the paper's method slow. It starts in the middle of W, far from everything; here the start is the best
of many latents of the network itself. And it takes equal steps along axes of W whose spreads differ by orders of
magnitude; here Adam works in whitened coordinates, where the network's own latents are spread alike along every axis,
and leaving their cloud costs. What has stopped improving takes no more time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.errors import UsageError
from capriccio.inversion.noise_maps import noise_regularizer, normalize_noise
from capriccio.inversion.problem import Problem, Step
from capriccio.inversion.w_statistics import WStatistics

_CANDIDATES_AT_ONCE = 64
_NUM_SCALES = 5
_RAMPDOWN = 0.4
_RAMPUP_STEPS = 3
_BETAS = (0.9, 0.99)
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class FastSettings:
    """Constants of the method."""

    num_steps: int = 60
    """Most steps taken from one start."""
    learning_rate: float = 0.1
    """The highest one, in spreads of W along each axis."""
    num_candidates: int = 1000
    """Latents of the network among which the start is looked for."""
    num_restarts: int = 1
    """Starts tried, the best candidates in order; each takes the whole time."""
    prior: float = 0.1
    """Cost of lying farther from the centre than the network's own latents do."""
    rows: str = "w"
    """w = one row for all layers; w+ = a row for each."""
    optimize_noise: bool = False
    """Whether noise maps are variables too; reconstructions get nearer, but say less about where they come from."""
    noise_weight: float = 30.0
    """Weight of the regulariser of noise maps."""
    patience: int = 20
    """Steps without improvement by 1 % after which a picture is done."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "num_candidates", "num_restarts", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"learning_rate must be a positive number, got {self.learning_rate}.")
        if self.rows not in ("w", "w+"):
            raise UsageError(f"the space is w or w+, got '{self.rows}'.")


class FastProjector:
    """A batch of pictures, each projected as if it were alone."""

    def __init__(self, problem: Problem, statistics: WStatistics, settings: FastSettings) -> None:
        self._problem = problem
        self._statistics = statistics
        self._settings = settings
        self._starts = best_candidates(problem, statistics, settings.num_candidates, settings.num_restarts)
        count = len(problem.targets)
        self.best_distances = torch.full((count,), math.inf, device=problem.targets.device)
        self.best_ws = statistics.to_w(self._starts[0])[:, None].repeat(1, problem.generator.num_ws, 1)
        self.best_images = torch.zeros_like(problem.targets)
        self.best_noise = self._fresh_noise(count) if settings.optimize_noise else None

    @property
    def ws(self) -> Tensor:
        """The best latent rows so far, [N, num_ws, w_dim]."""
        return self.best_ws

    @property
    def noise(self) -> list[Tensor] | None:
        """The noise maps that go with them, one [N, 1, H, W] for each layer; None = the network's own."""
        return self.best_noise

    def steps(self) -> Iterator[Step]:
        """Optimise, stopping after every step; what is shown and told is the best so far."""
        s = self._settings
        total = s.num_steps * len(self._starts)
        done = 0
        for start in self._starts:
            for _ in self._from(start):
                done += 1
                yield Step(step=done, num_steps=total, distances=self.best_distances, images=self.best_images)

    def _from(self, start: Tensor) -> Iterator[None]:
        """Optimise from whitened latents [N, w_dim]; pictures that are done leave the batch."""
        s, problem, statistics = self._settings, self._problem, self._statistics
        goal = problem.goal()
        active = torch.arange(len(start), device=start.device)
        num_ws = problem.generator.num_ws
        v = start.clone() if s.rows == "w" else start[:, None].repeat(1, num_ws, 1)
        moments = (torch.zeros_like(v), torch.zeros_like(v))
        noise = self._fresh_noise(len(start)) if s.optimize_noise else []
        noise_moments = [(torch.zeros_like(n), torch.zeros_like(n)) for n in noise]
        lowest = torch.full((len(start),), math.inf, device=start.device)
        since = torch.zeros(len(start), dtype=torch.long, device=start.device)
        for step in range(s.num_steps):
            part = problem.rows(active)
            point = v[active].requires_grad_()
            maps = [n[active].requires_grad_() for n in noise]
            flat = statistics.to_w(point)
            ws = flat if s.rows == "w+" else flat[:, None].expand(-1, num_ws, -1)
            images = part.paint(ws, maps or None)
            distances = part.distances(part.shown(images), goal[active])
            loss = distances + s.prior * functional.relu(point.square().flatten(1).mean(dim=1) - 1)
            if maps:
                loss = loss + s.noise_weight * noise_regularizer(maps)
            gradients = torch.autograd.grad(loss.sum(), [point, *maps])
            self._remember(active, distances.detach(), ws.detach(), images.detach(), maps)

            improved = distances.detach() < 0.99 * lowest[active]
            lowest[active] = torch.minimum(lowest[active], distances.detach())
            since[active] = torch.where(improved, 0, since[active] + 1)
            rate = s.learning_rate * _schedule(step, s.num_steps)
            for variable, moment, gradient in zip([v, *noise], [moments, *noise_moments], gradients, strict=True):
                _adam(variable, moment, gradient, active, step, rate)
            if noise:
                normalize_noise(noise)
            yield
            active = active[since[active] < s.patience]
            if not len(active):
                return

    @torch.no_grad()
    def _remember(self, active: Tensor, distances: Tensor, ws: Tensor, images: Tensor, maps: list[Tensor]) -> None:
        better = distances < self.best_distances[active]
        rows = active[better]
        self.best_distances[rows] = distances[better]
        self.best_ws[rows] = ws[better]
        self.best_images[rows] = images[better]
        if self.best_noise is not None:
            for best, found in zip(self.best_noise, maps, strict=True):
                best[rows] = found.detach()[better]

    def _fresh_noise(self, count: int) -> list[Tensor]:
        """The network's own maps as a start, one for each picture."""
        consts = self._problem.generator.synthesis.noise_consts()
        maps = [n.detach().clone()[None, None].repeat(count, 1, 1, 1) for n in consts]
        normalize_noise(maps)
        return maps


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


@torch.no_grad()
def best_candidates(problem: Problem, statistics: WStatistics, num_candidates: int, num_best: int) -> list[Tensor]:
    """Return the whitened latents of the network's own whose images come nearest, best first, [N, w_dim] each.

    Nearness is judged by pixels at several scales: cheaper than any network, and enough for a start.
    """
    latents = statistics.latents[:num_candidates]
    goal = _pyramid(problem.targets)
    near = []
    for part in torch.split(latents, _CANDIDATES_AT_ONCE):
        images = problem.paint(part[:, None].expand(-1, problem.generator.num_ws, -1)).clamp(-1, 1)
        if problem.masks is None:
            near.append(torch.cdist(goal, _pyramid(images)))
        else:
            seen = [_pyramid(problem.rows([i]).shown(images)) for i in range(len(goal))]
            near.append(torch.stack([(s - g).norm(dim=1) for s, g in zip(seen, goal, strict=True)]))
    order = torch.cat(near, dim=1).argsort(dim=1)[:, :num_best]
    return [statistics.to_v(latents[order[:, k]]) for k in range(order.shape[1])]


def _pyramid(images: Tensor) -> Tensor:
    """Return vectors [N, D] of pixels at several scales, each scale of equal weight."""
    parts = []
    for _ in range(_NUM_SCALES):
        parts.append(images.flatten(1) * images[0].numel() ** -0.5)
        if min(images.shape[2:]) < 2:
            break
        images = functional.avg_pool2d(images, 2)
    return torch.cat(parts, dim=1)
