"""One iteration: G main, G path length, D main, D R1, then the average. A function of state, batch and draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from capriccio.config import RunConfig
from capriccio.runtime import Processes
from capriccio.training import losses
from capriccio.training.draws import Draws, PhaseName
from capriccio.training.ema import ema_beta, update_ema
from capriccio.training.optimizer import parameters_of, sanitize
from capriccio.training.report import Statistics
from capriccio.training.state import TrainingState

WARM_START_NIMG = 4000
"""After continuing from a snapshot the learning rates rise linearly over this many images: Adam's second moments are
fresh, and its first steps would all have full size."""


@dataclass(frozen=True)
class Phases:
    """The four phases as callables: eager, or compiled with the same numbers."""

    generator_main: Callable[..., losses.PhaseOutput] = losses.generator_main
    discriminator_main: Callable[..., losses.PhaseOutput] = losses.discriminator_main
    r1_penalty: Callable[..., losses.PhaseOutput] = losses.r1_penalty
    path_lengths: Callable[..., tuple[Tensor, Tensor]] = losses.path_lengths


def compiled_phases(**options: Any) -> Phases:
    """Return the phases compiled as one graph each; ``options`` go to :func:`torch.compile`."""
    options = {"fullgraph": True, "dynamic": False} | options
    return Phases(
        generator_main=torch.compile(losses.generator_main, **options),
        discriminator_main=torch.compile(losses.discriminator_main, **options),
        r1_penalty=torch.compile(losses.r1_penalty, **options),
        path_lengths=torch.compile(losses.path_lengths, **options),
    )


@dataclass(frozen=True)
class Batch:
    """The real pictures of an iteration, for this process; all phases share them."""

    reals: Tensor
    """[N, C, H, W], float32, −1…1."""
    labels: Tensor | None
    """[N, c_dim]; None when unconditional."""

    def round(self, index: int, size: int) -> tuple[Tensor, Tensor | None]:
        """Return the ``index``-th run of ``size`` consecutive pictures and their labels."""
        part = slice(index * size, (index + 1) * size)
        return self.reals[part], None if self.labels is None else self.labels[part]


@dataclass(frozen=True)
class Trainer:
    """What stays the same from one iteration to the next."""

    config: RunConfig
    processes: Processes
    phases: Phases
    statistics: Statistics
    after_phase: Callable[[PhaseName, Sequence[nn.Parameter]], None] | None = None
    """Called with the accumulated gradients before each optimiser step; for tests and profiling."""

    def run(self, state: TrainingState, batch: Batch, draws: Draws, *, round_size: int) -> None:
        """Advance ``state`` by one batch.

        Args:
            state: changed in place.
            batch: this process's pictures.
            draws: this process's random numbers.
            round_size: pictures per round of this process; the batch is a whole number of rounds.
        """
        config, i = self.config, state.iteration
        num_rounds = len(batch.reals) // round_size
        pl_every, r1_every = config.loss.pl_interval, config.loss.r1_interval
        has_pl, has_r1 = config.loss.pl_weight > 0, config.loss.r1_gamma > 0
        _set_learning_rates(state, config)

        with self._step("Gmain", state.generator, state.generator_optimizer, num_rounds, gain=1):
            for r in range(num_rounds):
                self._generator_main(state, draws, r, num_rounds)
                if has_pl and pl_every is None:
                    self._path_length(state, draws, r, num_rounds, gain=1)
        if has_pl and pl_every is not None and i % pl_every == 0:
            with self._step("Greg", state.generator, state.generator_optimizer, num_rounds, gain=pl_every):
                for r in range(num_rounds):
                    self._path_length(state, draws, r, num_rounds, gain=pl_every)

        with self._step("Dmain", state.discriminator, state.discriminator_optimizer, num_rounds, gain=1):
            for r in range(num_rounds):
                self._discriminator_main(state, batch, draws, r, round_size, num_rounds)
                if has_r1 and r1_every is None:
                    self._r1(state, batch, r, round_size, num_rounds, gain=1)
        if has_r1 and r1_every is not None and i % r1_every == 0:
            with self._step("Dreg", state.discriminator, state.discriminator_optimizer, num_rounds, gain=r1_every):
                for r in range(num_rounds):
                    self._r1(state, batch, r, round_size, num_rounds, gain=r1_every)

        beta = ema_beta(config.ema, nimg=state.nimg, batch=config.batch)
        update_ema(state.generator_ema, state.generator, beta)
        state.nimg += config.batch
        state.iteration += 1

    # ---- the rounds of each phase

    def _generator_main(self, state: TrainingState, draws: Draws, r: int, num_rounds: int) -> None:
        latents = draws.latents("Gmain", r)
        output = self.phases.generator_main(state.generator, state.discriminator, latents)
        self._backward(output, num_rounds, gain=1)
        self._track(state, output.w_mean, is_discriminator_pass=False)

    def _path_length(self, state: TrainingState, draws: Draws, r: int, num_rounds: int, gain: int) -> None:
        loss = self.config.loss
        latents = draws.latents("Greg", r, shrink=loss.pl_batch_shrink)
        noise = draws.pl_noise(r, shrink=loss.pl_batch_shrink)
        lengths, w_mean = self.phases.path_lengths(state.generator, latents, noise)
        total = self.processes.sum(lengths.detach().sum())
        step = losses.path_length_cotangent(
            lengths,
            state.pl_mean,
            total=total,
            count=len(lengths) * self.processes.world_size,
            weight=loss.pl_weight,
            decay=loss.pl_decay,
        )
        # Gradients are averaged over processes later; the cotangent is already that of the global mean.
        lengths.backward(step.cotangent * (gain * self.processes.world_size * self._round_weight(num_rounds)))
        finite = step.pl_mean.isfinite()
        self.statistics.note_loss_is_finite(finite)
        state.pl_mean.copy_(torch.where(finite, step.pl_mean, state.pl_mean))
        self.statistics.add("Loss/pl_penalty", step.penalties)
        self.statistics.add("Loss/G/reg", step.penalties * loss.pl_weight)
        self._track(state, w_mean, is_discriminator_pass=False)

    def _discriminator_main(
        self, state: TrainingState, batch: Batch, draws: Draws, r: int, size: int, num_rounds: int
    ) -> None:
        reals, labels = batch.round(r, size)
        latents = draws.latents("Dmain", r)
        output = self.phases.discriminator_main(state.generator, state.discriminator, latents, reals, labels)
        self._backward(output, num_rounds, gain=1)
        self._track(state, output.w_mean, is_discriminator_pass=True)

    def _r1(self, state: TrainingState, batch: Batch, r: int, size: int, num_rounds: int, gain: int) -> None:
        reals, labels = batch.round(r, size)
        output = self.phases.r1_penalty(state.discriminator, reals, labels, gamma=self.config.loss.r1_gamma)
        self._backward(output, num_rounds, gain)

    # ---- what all phases share

    @contextmanager
    def _step(
        self, name: PhaseName, network: nn.Module, optimizer: torch.optim.Adam, num_rounds: int, gain: int
    ) -> Iterator[None]:
        """Clear gradients, let the rounds accumulate theirs, share them, make them finite, step."""
        parameters = parameters_of(optimizer)
        for p in parameters:
            p.requires_grad_(True)
            p.grad = None
        self.statistics.begin_phase(name)
        yield
        if self.config.loss.zero_gradients == "zeros":
            for p in parameters:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
        gradients = [p.grad for p in parameters if p.grad is not None]
        bad_loss = self.statistics.take_bad_loss()
        self.processes.average([*gradients, bad_loss])
        self.statistics.note_sanitized(sanitize(gradients))
        if self.after_phase is not None:
            self.after_phase(name, parameters)
        # A non-finite loss skips the step on the device, without waiting for it: Adam leaves parameters, moments and
        # step counts alone where `found_inf` is not 0.
        skip = (bad_loss > 0).float()
        self.statistics.note_skipped(skip)
        optimizer.found_inf = skip
        optimizer.step()
        for p in parameters:
            p.requires_grad_(False)
        self.statistics.end_phase(name)

    def _backward(self, output: losses.PhaseOutput, num_rounds: int, gain: int) -> None:
        self.statistics.note_loss_is_finite(output.loss.detach().isfinite())
        (output.loss * (gain * self._round_weight(num_rounds))).backward()
        for name, values in output.statistics.items():
            self.statistics.add(name, values)

    def _round_weight(self, num_rounds: int) -> float:
        return 1 / num_rounds if self.config.optimizer.accumulation == "mean" else 1.0

    def _track(self, state: TrainingState, w_mean: Tensor | None, *, is_discriminator_pass: bool) -> None:
        if w_mean is None or not (is_discriminator_pass or self.config.loss.w_avg_updates == "every-pass"):
            return
        self.processes.average([w_mean])
        state.generator.mapping.track(torch.where(w_mean.isfinite(), w_mean, state.generator.w_avg))


def _set_learning_rates(state: TrainingState, config: RunConfig) -> None:
    if state.warm_start_nimg is None:
        return
    ramp = min(1.0, (state.nimg - state.warm_start_nimg + config.batch) / WARM_START_NIMG)
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for group in optimizer.param_groups:
            base = group.setdefault("full_lr", group["lr"])
            group["lr"] = base * ramp
