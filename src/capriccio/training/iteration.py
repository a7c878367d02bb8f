"""One iteration: G main, G path length, D main, D R1, then the average. A function of state, batch and draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from capriccio.config import RunConfig
from capriccio.errors import JobError
from capriccio.networks.layers import largest_divisor
from capriccio.processes import Processes
from capriccio.training import losses
from capriccio.training.draws import Draws, PhaseName
from capriccio.training.ema import ema_beta, update_ema
from capriccio.training.optimizer import parameters_of, sanitize
from capriccio.training.recording import Recorder, Runner, run_directly
from capriccio.training.state import TrainingState
from capriccio.training.statistics import Statistics, sums

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


@dataclass(frozen=True, slots=True)
class Round:
    """One of the equal parts a batch is divided into to save memory."""

    index: int
    size: int
    """Pictures of this process."""
    weight: float
    """What its loss is multiplied by: the lazy interval, and 1/rounds when gradients are averaged over rounds."""


RoundFunction = Callable[[Round, Sequence[Tensor]], None]
"""Adds the gradients of one round to those of the parameters given."""


class Found(NamedTuple):
    """What the work of one round leaves besides gradients."""

    is_finite: Tensor
    """Whether the loss was, scalar."""
    sums: dict[str, Tensor]
    """Of the statistics, by name: see :func:`~capriccio.training.statistics.sums`."""
    signs: Tensor | None
    """Signs of the discriminator's outputs at real pictures, where it saw any."""
    w_mean: Tensor | None
    """Batch mean of w, where the generator was evaluated."""


@dataclass(frozen=True)
class Batch:
    """The real pictures of an iteration, for this process; all phases share them."""

    reals: Tensor
    """[N, C, H, W], float32, −1…1."""
    labels: Tensor | None
    """[N, c_dim]; None when unconditional."""

    def part(self, this: Round) -> tuple[Tensor, Tensor | None]:
        """Return the consecutive pictures of a round, and their labels."""
        rows = slice(this.index * this.size, (this.index + 1) * this.size)
        return self.reals[rows], None if self.labels is None else self.labels[rows]


class PhaseClock(Protocol):
    """What measures phases to the end of their work on the device, which it waits for."""

    def begin_phase(self, name: PhaseName) -> None:
        """A phase begins."""
        ...

    def end_phase(self, name: PhaseName) -> None:
        """A phase ends, its optimiser step done."""
        ...


@dataclass(frozen=True)
class Trainer:
    """What stays the same from one iteration to the next."""

    config: RunConfig
    processes: Processes
    phases: Phases
    statistics: Statistics
    after_phase: Callable[[PhaseName, Sequence[Tensor]], None] | None = None
    """Called with the accumulated gradients before each optimiser step; for tests and profiling."""
    runner: Runner = run_directly
    """Runs the work of the phases: as it is, or recorded."""
    clock: PhaseClock | None = None
    """Told when phases begin and end; None = only the statistics time them, as far as that needs no waiting."""

    def run(self, state: TrainingState, batch: Batch, draws: Draws, *, round_size: int) -> int:
        """Advance ``state`` by one batch.

        Args:
            state: changed in place.
            batch: this process's pictures.
            draws: this process's random numbers.
            round_size: pictures per round of this process; the batch is a whole number of rounds.

        Returns: the round size that fitted into memory, ``round_size`` or a divisor of it.
        """
        config, i = self.config, state.iteration
        pl_every, r1_every = config.loss.pl_interval, config.loss.r1_interval
        has_pl, has_r1 = config.loss.pl_weight > 0, config.loss.r1_gamma > 0
        generator_rounds = partial(self._generator_main, state, draws)
        path_length_rounds = partial(self._path_length, state, draws)
        discriminator_rounds = partial(self._discriminator_main, state, batch, draws)
        r1_rounds = partial(self._r1, state, batch, draws)
        _set_learning_rates(state, config)

        main: list[RoundFunction] = [generator_rounds]
        if has_pl and pl_every is None:
            main.append(path_length_rounds)
        size = self._step("Gmain", state, main, batch, round_size, gain=1)
        if has_pl and pl_every is not None and i % pl_every == 0:
            size = self._step("Greg", state, [path_length_rounds], batch, size, gain=pl_every)

        main = [discriminator_rounds]
        if has_r1 and r1_every is None:
            main.append(r1_rounds)
        size = self._step("Dmain", state, main, batch, size, gain=1)
        if has_r1 and r1_every is not None and i % r1_every == 0:
            size = self._step("Dreg", state, [r1_rounds], batch, size, gain=r1_every)

        beta = ema_beta(config.ema, nimg=state.nimg, batch=config.batch)
        update_ema(state.generator_ema, state.generator, beta)
        state.nimg += config.batch
        state.iteration += 1
        ada = state.augmentation
        if ada.is_adaptive and state.iteration % config.augment.interval == 0:
            ada.adjust(self.processes.sum(ada.signs), batch=config.batch, nimg=state.nimg)
        return size

    # ---- the rounds of each phase

    def _generator_main(self, state: TrainingState, draws: Draws, this: Round, parameters: Sequence[Tensor]) -> None:
        phase = partial(self.phases.generator_main, state.generator, state.discriminator)
        inputs = (
            draws.generator_inputs("Gmain", this.index, this.size),
            draws.augmentation("Gmain", "fakes", this.index, this.size),
        )
        found = self._run("Gmain", state, this, _differentiated(phase, this), inputs, parameters)
        self._track(state, found.w_mean, is_discriminator_pass=False)

    def _path_length(self, state: TrainingState, draws: Draws, this: Round, parameters: Sequence[Tensor]) -> None:
        loss = self.config.loss
        count = max(this.size // loss.pl_batch_shrink, 1)

        def work(inputs: losses.GeneratorInputs, noise: Tensor) -> Found:
            lengths, w_mean = self.phases.path_lengths(state.generator, inputs, noise)
            step = losses.path_length_cotangent(
                lengths,
                state.pl_mean,
                total=self.processes.sum(lengths.detach().sum()),
                count=count * self.processes.world_size,
                weight=loss.pl_weight,
                decay=loss.pl_decay,
            )
            # Gradients are averaged over processes later; the cotangent is already that of the global mean.
            torch.autograd.backward(lengths, step.cotangent * (this.weight * self.processes.world_size))
            finite = step.pl_mean.isfinite()
            state.pl_mean.copy_(torch.where(finite, step.pl_mean, state.pl_mean))
            told = {"Loss/pl_penalty": step.penalties, "Loss/G/reg": step.penalties * loss.pl_weight}
            return Found(finite, {name: sums(values) for name, values in told.items()}, None, w_mean)

        inputs = (draws.generator_inputs("Greg", this.index, count), draws.pl_noise(this.index, count))
        found = self._run("Greg", state, this, work, inputs, parameters)
        self._track(state, found.w_mean, is_discriminator_pass=False)

    def _discriminator_main(
        self, state: TrainingState, batch: Batch, draws: Draws, this: Round, parameters: Sequence[Tensor]
    ) -> None:
        phase = partial(self.phases.discriminator_main, state.generator, state.discriminator)
        inputs = (
            draws.generator_inputs("Dmain", this.index, this.size),
            *batch.part(this),
            draws.augmentation("Dmain", "fakes", this.index, this.size),
            draws.augmentation("Dmain", "reals", this.index, this.size),
        )
        found = self._run("Dmain", state, this, _differentiated(phase, this), inputs, parameters)
        self._track(state, found.w_mean, is_discriminator_pass=True)

    def _r1(self, state: TrainingState, batch: Batch, draws: Draws, this: Round, parameters: Sequence[Tensor]) -> None:
        phase = partial(self.phases.r1_penalty, state.discriminator, gamma=self.config.loss.r1_gamma)
        inputs = (*batch.part(this), draws.augmentation("Dreg", "reals", this.index, this.size))
        self._run("Dreg", state, this, _differentiated(phase, this), inputs, parameters)

    def _run(
        self,
        name: PhaseName,
        state: TrainingState,
        this: Round,
        work: Callable[..., Found],
        inputs: tuple[Any, ...],
        parameters: Sequence[Tensor],
    ) -> Found:
        # The precision and the networks themselves are part of what is recorded.
        key = (name, this.size, this.weight, state.generator.synthesis.low_precision, id(state.generator))
        found: Found = self.runner(key, work, inputs, parameters)
        self.statistics.note_loss_is_finite(found.is_finite)
        for told, values in found.sums.items():
            self.statistics.add_sums(told, values)
        if found.signs is not None:
            state.augmentation.note(found.signs)
        return found

    # ---- what all phases share

    def _step(
        self,
        name: PhaseName,
        state: TrainingState,
        functions: Sequence[RoundFunction],
        batch: Batch,
        size: int,
        *,
        gain: int,
    ) -> int:
        """Accumulate the gradients of all rounds, share them, make them finite, step; return the round size."""
        optimizer = state.generator_optimizer if name.startswith("G") else state.discriminator_optimizer
        parameters = parameters_of(optimizer)
        for p in parameters:
            p.requires_grad_(True)
        if self.clock is not None:
            self.clock.begin_phase(name)
        self.statistics.begin_phase(name)
        size = self._accumulate(state, parameters, functions, len(batch.reals), size, gain)
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
        self.statistics.note_skipped(name, skip)
        optimizer.found_inf = skip  # type: ignore[attr-defined]
        optimizer.step()
        for p in parameters:
            p.requires_grad_(False)
            p.grad = None
        self.statistics.end_phase(name)
        if self.clock is not None:
            self.clock.end_phase(name)
        return size

    def _accumulate(
        self,
        state: TrainingState,
        parameters: Sequence[Tensor],
        functions: Sequence[RoundFunction],
        total: int,
        size: int,
        gain: int,
    ) -> int:
        """Run all rounds; when memory does not suffice, begin the phase again with rounds of half the size."""
        gathered = (state.pl_mean, state.generator.w_avg, state.augmentation.signs)
        before = [values.clone() for values in gathered]
        while True:
            for p in parameters:
                p.grad = None
            try:
                num_rounds = total // size
                for index in range(num_rounds):
                    for function in functions:
                        function(Round(index, size, gain * self._round_weight(num_rounds)), parameters)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if size == 1 or self.processes.world_size > 1:
                    # Processes with different numbers of rounds would wait for each other for ever.
                    raise JobError(
                        f"out of memory with rounds of {size} pictures; give a smaller --batch-per-round."
                    ) from error
            else:
                return size
            size = largest_divisor(size, size // 2)
            # The rounds that did fit must leave no trace: they are run again.
            for values, value in zip(gathered, before, strict=True):
                values.copy_(value)
            self.statistics.forget_phase()
            if isinstance(self.runner, Recorder):
                self.runner.forget()  # recordings of larger rounds hold the memory that is missing
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _round_weight(self, num_rounds: int) -> float:
        return 1 / num_rounds if self.config.optimizer.accumulation == "mean" else 1.0

    def _track(self, state: TrainingState, w_mean: Tensor | None, *, is_discriminator_pass: bool) -> None:
        if w_mean is None or not (is_discriminator_pass or self.config.loss.w_avg_updates == "every-pass"):
            return
        self.processes.average([w_mean])
        state.generator.mapping.track(torch.where(w_mean.isfinite(), w_mean, state.generator.w_avg))


def _differentiated(phase: Callable[..., losses.PhaseOutput], this: Round) -> Callable[..., Found]:
    """Return the work of a round: a phase and the gradients of its loss."""

    def work(*inputs: Any) -> Found:
        output = phase(*inputs)
        torch.autograd.backward(output.loss * this.weight)
        told = {name: sums(values) for name, values in output.statistics.items()}
        return Found(output.loss.detach().isfinite(), told, output.statistics.get("Loss/signs/real"), output.w_mean)

    return work


def _set_learning_rates(state: TrainingState, config: RunConfig) -> None:
    if state.warm_start_nimg is None:
        return
    ramp = min(1.0, (state.nimg - state.warm_start_nimg + config.batch) / WARM_START_NIMG)
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        for group in optimizer.param_groups:
            base = group.setdefault("full_lr", group["lr"])
            group["lr"] = base * ramp


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # On a processor PyTorch raises a plain RuntimeError, worded differently by platform.
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
