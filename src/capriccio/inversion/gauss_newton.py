"""The most probable latent and noise of a picture, by damped Gauss-Newton steps from the middle of W.

A picture of the network is g(w, n) with w from the network's cloud and n standard normal. Of all explanations of a
picture the most probable one minimises

    E = ‖g(w, n) − x‖² / s² + |v|² + |n|²,     v the whitened w,

with s the error that is tolerated. Three things make the search short and keep it out of wrong valleys:

* Residuals are linearised (Gauss-Newton), and the linear problem is solved by a few conjugate gradients with Jacobian
  products alone: forward by finite differences, backward by autograd.
* Conjugate gradients and damping are scaled by the network's mean curvature (:mod:`capriccio.inversion.curvature`).
* s begins large, where E is nearly convex and w stays in the middle, and is lowered from step to step.

Source: Levenberg 1944 and Marquardt 1963 (damping); Steihaug 1983 (inexact steps); Blake and Zisserman 1987 (graduated
non-convexity).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.inversion.curvature import Curvature
from capriccio.inversion.problem import Problem
from capriccio.inversion.pyramid import pyramid
from capriccio.inversion.w_statistics import WStatistics

_DIFFERENCE = 0.03
"""Root mean square of the finite differences, in spreads."""
_DAMPING = 1.0
_LOWEST_DAMPING, _HIGHEST_DAMPING = 1e-4, 1e3
_TINY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussNewtonSettings:
    """How many steps, and how the tolerated error falls. Found by experiment (docs/experiments.md)."""

    num_steps: int = 24
    """Linearisations."""
    num_inner: int = 5
    """Conjugate gradients for each."""
    first_error: float = 3.0
    """Tolerated error at the start, of pixels in −1…1; twice the range, so nothing is believed yet."""
    last_error: float = 0.3
    """Tolerated error at the end."""
    falling: float = 0.8
    """Share of the steps over which it falls, geometrically."""

    def error_at(self, step: int) -> float:
        """Return the tolerated error of a step."""
        share = step / (self.num_steps * self.falling)
        fallen: float = self.first_error * (self.last_error / self.first_error) ** share
        return max(self.last_error, fallen)


def energy(
    targets: Tensor, images: Tensor, v: Tensor, noise: Sequence[Tensor], error: float = GaussNewtonSettings().last_error
) -> Tensor:
    """Return E·s² of explanations, [N]: mean squared error over scales plus the cost of latent and noise.

    Args:
        targets: the pictures, −1…1, [N, C, H, W].
        images: what explains them.
        v: whitened latents, [N, w_dim].
        noise: noise maps, [N, …] each.
        error: s, the error that is tolerated.
    """
    spreads = v.square().sum(dim=1) + sum((n.square().flatten(1).sum(dim=1) for n in noise), torch.zeros_like(v[:, 0]))
    return (pyramid(images) - pyramid(targets)).square().sum(dim=1) + error**2 / targets[0].numel() * spreads


class GaussNewton:
    """A batch of pictures; each is solved as if it were alone."""

    def __init__(
        self,
        problem: Problem,
        statistics: WStatistics,
        curvature: Curvature,
        settings: GaussNewtonSettings,
        *,
        with_noise: bool,
        start: tuple[Tensor, list[Tensor]] | None = None,
    ) -> None:
        """Prepare it.

        Args:
            problem: the pictures.
            statistics: of the network's W.
            curvature: of the network.
            settings: how many steps.
            with_noise: whether noise maps are variables, else the network's own are painted with.
            start: whitened latents [N, w_dim] and noise maps [N, 1, H, W]; None = the middle of both.
        """
        self._problem, self._statistics = problem, statistics
        self.settings = settings
        # In double precision: its values differ by factors of a million.
        values, axes = torch.linalg.eigh(curvature.latent.double().cpu())
        self._values = values.clamp(min=0).to(curvature.latent)
        self._axes = axes.to(curvature.latent)
        self._noise_values = curvature.noise.tolist() if with_noise else []
        self._goal = pyramid(problem.targets)
        count, w_dim = len(problem.targets), len(statistics.mean)
        device = problem.targets.device
        self._shapes = problem.generator.synthesis.noise_shapes() if with_noise else []
        self._sizes = [w_dim, *(height * width for height, width in self._shapes)]
        self._u = torch.zeros(count, sum(self._sizes), device=device)
        if start is not None:
            self._u = torch.cat([start[0], *(n.flatten(1) for n in start[1][: len(self._shapes)])], dim=1)
        self._damping = torch.full((count, 1), _DAMPING, device=device)
        self.energies = torch.full((count,), torch.inf, device=device)
        """The energy of each picture, times s²: mean squared error plus the cost of what explains it, [N]."""

    @property
    def v(self) -> Tensor:
        """Whitened latents, [N, w_dim]."""
        return self._u[:, : self._sizes[0]]

    @property
    def ws(self) -> Tensor:
        """Latent rows, [N, num_ws, w_dim]."""
        return self._ws(self._u)

    @property
    def noise(self) -> list[Tensor] | None:
        """Noise maps [N, 1, H, W], one for each layer; None = the network's own."""
        return self._maps(self._u)

    def steps(self) -> Iterator[bool]:
        """Optimise; stops after every conjugate gradient, and says whether a linearisation is finished."""
        for step in range(self.settings.num_steps):
            yield from self._linearised(self._cost(self.settings.error_at(step)))
        if self.settings.error_at(self.settings.num_steps - 1) > self.settings.last_error:
            # Too few steps for the tolerance to fall to its end: energies are told at the end's all the same, so that
            # those of several starts can be compared.
            with torch.no_grad():
                residual = self._seen(self._u) - self._goal
                self.energies = self._energy(residual, self._u, self._cost(self.settings.last_error))

    def _cost(self, error: float) -> float:
        """Return what one squared spread costs in the scale of mean squared errors."""
        return error**2 / self._problem.targets[0].numel()

    def _linearised(self, cost: float) -> Iterator[bool]:
        u = self._u.clone().requires_grad_()
        seen = self._seen(u)
        here = seen.detach()
        residual = here - self._goal
        before = self._energy(residual, self._u, cost)

        def backward(cotangent: Tensor) -> Tensor:
            (found,) = torch.autograd.grad(seen, u, cotangent, retain_graph=True)
            return found

        damping = self._damping
        rest = -(backward(residual) + cost * self._u)
        move = torch.zeros_like(rest)
        predicted = residual.clone()
        scaled = self._scaled(rest, 1 + damping, cost, inverse=True)
        direction, size = scaled, (rest * scaled).sum(dim=1, keepdim=True)
        for _ in range(self.settings.num_inner):
            length = _DIFFERENCE / direction.square().mean(dim=1, keepdim=True).sqrt().clamp(min=_TINY)
            with torch.no_grad():
                pushed = (self._seen(self._u + length * direction) - here) / length
            bent = backward(pushed) + cost * direction + self._scaled(direction, damping, 0.0)
            share = size / (direction * bent).sum(dim=1, keepdim=True).clamp(min=_TINY)
            move += share * direction
            predicted += share * pushed
            rest = rest - share * bent
            scaled = self._scaled(rest, 1 + damping, cost, inverse=True)
            next_size = (rest * scaled).sum(dim=1, keepdim=True)
            direction, size = scaled + next_size / size.clamp(min=_TINY) * direction, next_size
            yield False
        self._judge(move, before, self._energy(predicted, self._u + move, cost), cost)
        yield True

    @torch.no_grad()
    def _judge(self, move: Tensor, before: Tensor, promised: Tensor, cost: float) -> None:
        """Take the moves that lower the energy, and trust the linear model as much as it deserved."""
        after = self._energy(self._seen(self._u + move) - self._goal, self._u + move, cost)
        better = after < before
        self._u = torch.where(better[:, None], self._u + move, self._u)
        self.energies = torch.where(better, after, before)
        kept = ((before - after) / (before - promised).clamp(min=_TINY))[:, None]
        change = torch.full_like(kept, 6.0)
        for least, factor in ((0.1, 2.0), (0.4, 0.7), (0.75, 0.2)):
            change = torch.where(kept > least, factor, change)
        self._damping = (self._damping * change).clamp(_LOWEST_DAMPING, _HIGHEST_DAMPING)

    def _scaled(self, x: Tensor, scale: Tensor, shift: float, *, inverse: bool = False) -> Tensor:
        """Multiply by scale·curvature + shift, or by its inverse, [N, D]."""
        parts = list(torch.split(x, self._sizes, dim=1))
        parts[0] = parts[0] @ self._axes
        rates = [scale * value + shift for value in (self._values, *self._noise_values)]
        parts = [p / r if inverse else p * r for p, r in zip(parts, rates, strict=True)]
        parts[0] = parts[0] @ self._axes.T
        return torch.cat(parts, dim=1)

    def _energy(self, residual: Tensor, u: Tensor, cost: float) -> Tensor:
        return residual.square().sum(dim=1) + cost * u.square().sum(dim=1)

    def _seen(self, u: Tensor) -> Tensor:
        return pyramid(self._problem.shown(self._problem.paint(self._ws(u), self._maps(u))))

    def _ws(self, u: Tensor) -> Tensor:
        w = self._statistics.to_w(u[:, : self._sizes[0]])
        return w[:, None].expand(-1, self._problem.generator.num_ws, -1)

    def _maps(self, u: Tensor) -> list[Tensor] | None:
        if not self._shapes:
            return None
        parts = torch.split(u, self._sizes, dim=1)[1:]
        return [p.reshape(len(u), 1, *shape) for p, shape in zip(parts, self._shapes, strict=True)]
