"""Projection in a fraction of the steps: a guess, Gauss-Newton steps to the most probable latent, and a short descent.

The paper's method starts in the middle of W and takes a thousand equal steps along axes whose effects differ by factors
of a hundred thousand. Here an encoder guesses, where the snapshot has one; a dozen linearisations find the most
probable latent and noise (:mod:`capriccio.inversion.gauss_newton`); a descent makes the named distance small, where one
row of w is not all that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.inversion.curvature import Curvature
from capriccio.inversion.descent import Descent, DescentSettings
from capriccio.inversion.gauss_newton import GaussNewton, GaussNewtonSettings
from capriccio.inversion.problem import Problem, Step
from capriccio.inversion.w_statistics import WStatistics
from capriccio.latent.streams import stream
from capriccio.networks.encoder import Encoder

FROM_GUESS = GaussNewtonSettings(num_steps=12, first_error=0.8, falling=0.7)
"""Steps from an encoder's guess."""

FROM_MIDDLE = GaussNewtonSettings()
"""Steps from the middle of W."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastSettings:
    """Constants of the method."""

    num_steps: int | None = None
    """Linearisations from each start; None = 12 from a guess, 24 from elsewhere."""
    num_restarts: int = 1
    """Starts: the encoder's guess, the middle of W, then latents of the network by chance; the best is kept."""
    rows: str = "w"
    """w = one row for all layers; w+ = a row for each."""
    optimize_noise: bool = False
    """Whether noise maps are variables too, or painted as the network has them stored."""
    num_descent_steps: int = 0
    """Steps on the named distance afterwards; with w+ there are at least 40."""
    seed: int = 303
    """Of the latents that further starts begin at."""

    def __post_init__(self) -> None:
        if self.num_restarts < 1 or (self.num_steps is not None and self.num_steps < 1):
            raise UsageError(f"steps and restarts are at least 1, got {self.num_steps} and {self.num_restarts}.")
        if self.rows not in ("w", "w+"):
            raise UsageError(f"the space is w or w+, got '{self.rows}'.")


class FastProjector:
    """A batch of pictures, each projected as if it were alone."""

    def __init__(
        self,
        problem: Problem,
        statistics: WStatistics,
        curvature: Curvature,
        settings: FastSettings,
        encoder: Encoder | None = None,
    ) -> None:
        self._problem, self._statistics, self._curvature = problem, statistics, curvature
        self._settings, self._encoder = settings, encoder
        count, device = len(problem.targets), problem.targets.device
        self._energies = torch.full((count,), torch.inf, device=device)
        self._v = torch.zeros(count, len(statistics.mean), device=device)
        self._noise: list[Tensor] | None = None
        if settings.optimize_noise:
            shapes = problem.generator.synthesis.noise_shapes()
            self._noise = [torch.zeros(count, 1, *shape, device=device) for shape in shapes]
        self._descent: Descent | None = None
        steps = 40 if settings.rows == "w+" else 0
        self._num_descent = max(settings.num_descent_steps, steps)

    @property
    def ws(self) -> Tensor:
        """The best latent rows so far, [N, num_ws, w_dim]."""
        if self._descent is not None:
            return self._descent.ws
        return self._statistics.to_w(self._v)[:, None].repeat(1, self._problem.generator.num_ws, 1)

    @property
    def noise(self) -> list[Tensor] | None:
        """The noise maps that go with them, one [N, 1, H, W] for each layer; None = the network's own."""
        return self._noise if self._descent is None else self._descent.noise

    def steps(self) -> Iterator[Step]:
        """Optimise, stopping after every conjugate gradient; what is shown and told is the best so far."""
        solvers = self._solvers()
        per_step = [s.settings.num_inner + 1 for s in solvers]
        total = sum(s.settings.num_steps * n for s, n in zip(solvers, per_step, strict=True)) + self._num_descent
        done = 0
        goal = self._problem.goal()
        distances, images = self._measured(goal)
        for solver in solvers:
            for finished in solver.steps():
                done += 1
                if finished and solver is solvers[0]:
                    self._take(solver, torch.ones_like(distances, dtype=torch.bool))
                    distances, images = self._measured(goal)
                yield Step(step=done, num_steps=total, distances=distances, images=images)
            self._take(solver, solver.energies < self._energies)
            distances, images = self._measured(goal)
        if not self._num_descent:
            return
        v = self._v if self._settings.rows == "w" else self._v[:, None].repeat(1, self._problem.generator.num_ws, 1)
        settings = DescentSettings(num_steps=self._num_descent)
        descent = Descent(self._problem, self._statistics, settings, v, self._noise or [])
        for _ in descent.steps():
            self._descent = descent  # from the first step on, which has looked at where it starts
            done += 1
            yield Step(step=done, num_steps=total, distances=descent.distances, images=descent.images)

    def _solvers(self) -> list[GaussNewton]:
        s = self._settings
        guess = self._guess()
        count, w_dim = self._v.shape
        maps = [torch.zeros_like(n) for n in self._noise or []]
        middle = torch.zeros_like(self._v)
        rng = stream(s.seed, "restarts")
        # The same latents for every picture: a picture's projection depends on no neighbour.
        others = torch.randn(s.num_restarts, 1, w_dim, generator=rng).to(middle)
        starts = [] if guess is None else [(guess, FROM_GUESS)]
        starts += [((middle, maps), FROM_MIDDLE)]
        starts += [((v.expand(count, -1), maps), FROM_MIDDLE) for v in others]
        solvers = []
        for start, plan in starts[: s.num_restarts]:
            if s.num_steps is not None:
                plan = GaussNewtonSettings(num_steps=s.num_steps, first_error=plan.first_error, falling=plan.falling)
            solver = GaussNewton(
                self._problem, self._statistics, self._curvature, plan, with_noise=s.optimize_noise, start=start
            )
            solvers.append(solver)
        return solvers

    @torch.no_grad()
    def _guess(self) -> tuple[Tensor, list[Tensor]] | None:
        """Return what the encoder takes the pictures for; None where there is none, or pictures are masked."""
        if self._encoder is None or self._problem.masks is not None:
            return None
        v, guessed = self._encoder(self._problem.targets)
        maps = [torch.zeros_like(n) for n in self._noise or []]
        if maps and guessed is not None:
            first = self._encoder.first_map
            maps[first : first + guessed.shape[1]] = guessed.split(1, dim=1)
        return v, maps

    @torch.no_grad()
    def _take(self, solver: GaussNewton, better: Tensor) -> None:
        """Keep what a solver has found, for the pictures where it is better."""
        self._energies = torch.where(better, solver.energies, self._energies)
        self._v = torch.where(better[:, None], solver.v, self._v)
        found = solver.noise
        if self._noise is not None and found is not None:
            pairs = zip(found, self._noise, strict=True)
            self._noise = [torch.where(better[:, None, None, None], new, old) for new, old in pairs]

    @torch.no_grad()
    def _measured(self, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances [N] and images of the best so far."""
        images = self._problem.paint(self.ws, self._noise)
        return self._problem.distances(self._problem.shown(images), goal), images
