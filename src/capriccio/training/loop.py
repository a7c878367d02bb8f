"""The story of a run, top to bottom: open, build or resume, iterate, save, report."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from capriccio.augmentation.pipes import settled
from capriccio.config import RunConfig
from capriccio.data.dataset import DatasetSplit
from capriccio.doctor.examination import LiveDoctor
from capriccio.errors import (
    ConfigError,
    DatasetError,
    DivergedError,
    Interrupted,
    JobError,
    RunError,
    WorkerError,
)
from capriccio.interop.foreign import read_network
from capriccio.loading.model import find_snapshot
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.networks.layers import largest_divisor
from capriccio.presets import for_transfer, with_fp16_clamp, with_shape
from capriccio.runtime import (
    ChosenPrecision,
    Processes,
    choose_device,
    choose_precision,
    collected_signals,
    joined_processes,
    tuned_libraries,
)
from capriccio.training.checkpoint import load_newest
from capriccio.training.draws import SeededDraws
from capriccio.training.feed import Feed, open_data
from capriccio.training.greeting import greeting, number_of_pictures
from capriccio.training.iteration import Batch, Phases, Trainer, compiled_phases
from capriccio.training.overfitting import Overfitting, measure_overfitting
from capriccio.training.recording import Recorder, choose_runner, is_recorded
from capriccio.training.report import RunLog, Statistics, memory_use
from capriccio.training.run_folder import RunFolder
from capriccio.training.saving import Saver
from capriccio.training.snapshot_metrics import SnapshotMetrics
from capriccio.training.state import TrainingState, new_state
from capriccio.training.tick import Tick
from capriccio.training.transfer import continue_from_snapshot, continued_snapshot, init_from_snapshot

BAD_STEPS_IN_A_ROW = 16
"""Steps skipped for non-finite losses, one after another, after which the run counts as diverged."""

FP32_AFTER_DIVERGENCE_NIMG = 4000
"""A run that was taken back runs in float32 for this long."""

CHECK_INTERVAL = 8
"""Iterations between two looks at signals, clocks and skipped steps where looking makes processes wait."""


_show: Callable[[str], None] = partial(print, flush=True)
"""At once: a log that is piped into a file is read while the run goes on."""


def train(
    config: RunConfig,
    run_dir: Path | str,
    *,
    resume: bool = False,
    init_from: str | None = None,
    continue_from: str | None = None,
    device: str = "auto",
    echo: Callable[[str], None] = _show,
) -> Path:
    """Train a network; return the path of the last snapshot.

    Launched by ``torchrun`` it is one of several processes; alone it is the only one. SIGINT and SIGTERM save a
    checkpoint and leave.

    Args:
        config: the run. Shape and label size of its networks are set from the data set.
        run_dir: folder of the run; made if it does not exist.
        resume: go on from the newest sound checkpoint of ``run_dir``; without one, start.
        init_from: network whose tensors this one starts from where they fit; whatever :func:`capriccio.load` takes.
        continue_from: travelling snapshot to go on from, images counted on.
        device: auto, cpu, cuda, cuda:N or mps.
        echo: receives the lines of the log.

    Raises:
        UsageError: the configuration, data set or run folder cannot be used; nothing was changed.
        Interrupted: a signal came; a checkpoint was saved.
        DivergedError, StorageError, WorkerError: the run failed; what was saved is kept.
    """
    chosen_device = choose_device(device)
    precision = choose_precision(config.precision, chosen_device)
    origin = _Origin(init_from or None, continue_from or None)
    with joined_processes(chosen_device) as processes, collected_signals() as signals, ExitStack() as stack:
        is_recorded(config.cuda_graphs, chosen_device, processes)  # told now if it cannot be
        if config.batch % processes.world_size:
            raise ConfigError(
                f"--batch: {config.batch} pictures cannot be shared evenly by {processes.world_size} processes."
            )
        data = open_data(config, processes)
        config = with_shape(config, data.train.shape, data.train.c_dim)
        if precision.dtype is torch.float16:
            config = with_fp16_clamp(config)
        if init_from is not None:
            config = for_transfer(config)
        folder = RunFolder(Path(run_dir))
        if config.augment.mode == "auto":
            # A run keeps what it decided at its start, also when the data set grows meanwhile.
            begun = folder.begun_with() if resume and folder.has_saved else None
            augment = settled(config.augment, number_of_pictures(data.train)) if begun is None else begun.augment
            config = replace(config, augment=augment)
        if not (resume and any(folder.checkpoints.glob("*"))):
            origin.check(config)  # before the folder is made, so that a mistyped file changes nothing
        wanted = config.evaluation.metrics  # names and weights of metrics are mistyped, too
        metrics = SnapshotMetrics(config, folder.path, processes, chosen_device) if wanted else None
        if processes.is_main:
            folder.open(config, resume=resume)
            stack.enter_context(folder.claimed())
        processes.wait()
        log = stack.enter_context(closing(RunLog(folder.path if processes.is_main else None, echo)))
        run = _Run(config, folder, log, data, processes, chosen_device, precision, signals, origin, metrics)
        try:
            run.start(resume=resume)
            return run.to_the_end()
        except WorkerError as error:
            # Said here and now: torchrun stops the survivors of a dead worker, perhaps before this error comes out.
            log.say(f"Stopped at {run.state.nimg / 1000:.1f} kimg: {error}")
            raise


@dataclass(frozen=True)
class _Origin:
    """The networks that a run starts from, if not from random numbers."""

    init_from: str | None
    continue_from: str | None

    def check(self, config: RunConfig) -> None:
        """Read them, to raise now what :meth:`begin` would raise later."""
        if self.continue_from is not None:
            with torch.device("meta"):
                networks = Generator(config.generator), Discriminator(config.discriminator)
            continued_snapshot(find_snapshot(self.continue_from), *networks)
        elif self.init_from is not None:
            read_network(find_snapshot(self.init_from))

    def begin(self, state: TrainingState) -> list[str]:
        """Let ``state`` start from them; return lines for the log."""
        if self.continue_from is not None:
            return continue_from_snapshot(find_snapshot(self.continue_from), state)
        return [] if self.init_from is None else init_from_snapshot(find_snapshot(self.init_from), state)


@dataclass
class _TickClock:
    """Where the tick began that is under way."""

    index: int = 0
    start_nimg: int = 0
    told_nimg: int = 0
    """Where this session began to measure the rate of the tick: its start, or where the session resumed."""
    told_time: float = 0.0


class _Run:
    """One session of a run: from start or resume until its end or an interruption."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        log: RunLog,
        data: DatasetSplit,
        processes: Processes,
        device: torch.device,
        precision: ChosenPrecision,
        signals: list[int],
        origin: _Origin,
        metrics: SnapshotMetrics | None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.log = log
        self.data = data
        self.processes = processes
        self.device = device
        self.precision = precision
        self.signals = signals
        self.origin = origin
        self.state: TrainingState = new_state(config, device)
        self.feed = self._fresh_feed()
        self.memory_limit: int | None = None
        """Pictures per round over all processes that fitted when memory ran out; None = it never did."""
        self.round_size = self._fitting_round_size()
        self.statistics = Statistics(device)
        self.clock = _TickClock()
        self.doctor: LiveDoctor | None = None
        phases = compiled_phases() if config.compile else Phases()
        runner = choose_runner(config.cuda_graphs, device, processes, say=self.log.say)
        self.trainer = Trainer(config, processes, phases, self.statistics, runner=runner)
        self.saver = Saver(config, folder, log, processes, device, metrics, data.train)

    # ---- beginning

    def start(self, *, resume: bool) -> None:
        """Resume, continue, transfer or begin; say which, with everything a reader of the log wants to know."""
        self._say_all(greeting(self.config, self.data, self.state, self.processes, self.device, self.precision))
        resumed = resume and self._recall()
        if resumed:
            self.log.say(f"Resumed at {self.state.nimg / 1000:.1f} kimg.")
        else:
            if resume:
                self.log.say("No checkpoint yet: starting.")
            self._begin()
        self.clock.told_nimg, self.clock.told_time = self.state.nimg, time.monotonic()
        session = {
            "resumed_at_nimg": self.state.nimg,
            "device": str(self.device),
            "precision": self.precision.name,
            "processes": self.processes.world_size,
        }
        self.saver.begin(self.state, session, resumed=resumed)
        self._call_doctor()
        self.saver.measure_snapshot(self.state)  # where the session before was stopped while it measured

    def _begin(self) -> None:
        """Start at the beginning: from other networks if there are any, else as built."""
        self._say_all(self.origin.begin(self.state))
        if self.state.warm_start_nimg:
            self.feed = self._fresh_feed()
        self.clock.start_nimg = self.state.nimg
        self.saver.begin_at(self.state.nimg)

    def _recall(self) -> bool:
        """Take everything from the newest sound checkpoint; return whether there is one."""
        remembered = load_newest(self.folder.checkpoints, self.state, self.log.say)
        if remembered is None:
            return False
        position, progress = remembered
        self._recall_data(progress["data_hash"], progress["data_history"])
        if self.state.warm_start_nimg:
            self.feed = self._fresh_feed()
        if not self.processes.is_main:
            self.state.augmentation.signs.zero_()  # those of all processes were saved together
        self.feed.go_to(position)
        self.memory_limit = progress["memory_limit"]
        self.round_size = self._fitting_round_size()
        self.clock.index, self.clock.start_nimg = progress["tick"], progress["tick_start_nimg"]
        self.saver.recall(progress)
        return True

    def _recall_data(self, before: str | None, history: list[str]) -> None:
        """Make sure that the pictures are those of the run, or those and more: new ones enter from here on.

        Args:
            before: hash of the set at the checkpoint; None in checkpoints that did not know it.
            history: hashes of the set before it grew to that, oldest first.
        """
        card = self.data.train.card
        grown_from = history if before in (None, card.hash) else [*history, before]
        if not grown_from:
            return
        try:
            self.data = open_data(self.config, self.processes, grown_from=[str(hash_) for hash_ in grown_from])
        except DatasetError as error:
            raise RunError(
                f"'{self.folder.path}' is a run on other pictures than those of '{self.config.data.path}'; "
                "choose another folder, or the same pictures."
            ) from error
        if before != card.hash:
            count = self.data.train.num_pictures
            self.log.say(f"The data set grew to {count:,} pictures; the new ones enter from here.")
        self.feed = self._fresh_feed()
        self.saver.use(self.data.train)

    def _fitting_round_size(self) -> int:
        share = self.config.batch // self.processes.world_size
        size = min(self.config.batch_per_round or share, share)
        if share % size:
            raise ConfigError(f"--batch-per-round: {size} does not divide the {share} pictures of each process.")
        if self.memory_limit is not None:
            size = largest_divisor(size, self.memory_limit // self.processes.world_size)
        return size

    def _fresh_feed(self) -> Feed:
        # A run that went on from a snapshot has a stream of its own, also when it is resumed.
        from_nimg = self.state.warm_start_nimg or 0
        # Processes without a log have lanes of a stream to report on, too.
        say = self.log.say if self.processes.is_main else partial(print, file=sys.stderr, flush=True)
        return Feed(self.config, self.data.train, self.processes, self.device, from_nimg=from_nimg, say=say)

    # ---- the loop

    def to_the_end(self) -> Path:
        """Iterate until the aim is reached or a signal comes; return the last snapshot."""
        config = self.config
        total_nimg = round(config.total_kimg * 1000)
        while self.state.nimg < total_nimg:
            self._set_precision()
            self._iterate()
            done = self.state.nimg >= total_nimg
            tick_nimg = config.saving.kimg_per_tick * 1000
            if done or self.state.iteration == 1 or self.state.nimg >= self.clock.start_nimg + tick_nimg:
                self._end_tick()
            if self.processes.world_size == 1 or done or self.state.iteration % CHECK_INTERVAL == 0:
                self._housekeeping(done)
            if self.state.iteration % CHECK_INTERVAL == 0:
                skipped, phase = self.statistics.skipped_in_a_row()
                if skipped >= BAD_STEPS_IN_A_ROW:
                    self._take_back(phase)
        self.saver.save_last_snapshot(self.state)
        self.log.say(f"Done: {self.state.nimg / 1000:g} kimg.")
        return self.folder.snapshot(self.state.nimg)

    def _draws(self) -> SeededDraws:
        return SeededDraws.of_run(
            self.config,
            self.state,
            self.feed,
            device=self.device,
            rank=self.processes.rank,
            num_processes=self.processes.world_size,
        )

    def _iterate(self) -> None:
        started = time.monotonic()
        batch = self._next_batch()
        with tuned_libraries(self.device, self._low_precision):
            size = self.trainer.run(self.state, batch, self._draws(), round_size=self.round_size)
        if size < self.round_size:
            self.log.say(f"Out of memory: rounds of {size} instead of {self.round_size} pictures from now on.")
            self.round_size = size
            self.memory_limit = size * self.processes.world_size
        self.state.seconds += time.monotonic() - started

    def _next_batch(self) -> Batch:
        """Return the next batch; a run whose streamed shards are gone saves what it has before it ends."""
        try:
            batch = self.feed.next()
        except JobError:
            if self.processes.world_size == 1:  # others are on their way to the next exchange, and wait there
                self._save_checkpoint()
            raise
        self.statistics.add_seconds("data", self.feed.last_wait)
        return batch

    @property
    def _low_precision(self) -> torch.dtype | None:
        return self.precision.dtype if self.state.nimg >= self.state.fp32_until_nimg else None

    def _set_precision(self) -> None:
        self.state.generator.set_precision(self._low_precision)
        self.state.discriminator.set_precision(self._low_precision)

    def _end_tick(self) -> None:
        state, clock = self.state, self.clock
        now = time.monotonic()
        tick = Tick(
            index=clock.index,
            images=state.nimg - clock.told_nimg,
            seconds=now - clock.told_time,
            epochs=self.feed.epochs(state.nimg),
            total_nimg=round(self.config.total_kimg * 1000),
            overfitting=self._overfitting(),
        )
        values = tick.values(self.statistics.take(self.processes), state, memory_use(self.device))
        self.log.statistics(values | {"nimg": state.nimg, "timestamp": time.time()}, nimg=state.nimg)
        self.log.say(tick.line(values, state))
        if skipped := self.statistics.told_skipped(values):
            self.log.say(f"Steps were skipped in this tick, as a loss was not finite: {skipped}.")
        self._warn_of_saturation()
        self._ask_doctor(values | {"nimg": state.nimg})
        clock.index += 1
        clock.start_nimg = clock.told_nimg = state.nimg
        clock.told_time = now

    def _overfitting(self) -> Overfitting | None:
        """Return how held-out pictures fare; None where nothing is held out, and on all processes but the main one."""
        if not self.processes.is_main:
            return None
        draws = replace(self._draws(), rank=0, num_processes=1)
        return measure_overfitting(self.state, self.data, draws, self.round_size)

    def _call_doctor(self) -> None:
        """Let the doctor read what the folder tells until now."""
        self.doctor = LiveDoctor(self.folder.path, self.config) if self.processes.is_main else None

    def _ask_doctor(self, values: dict[str, Any]) -> None:
        if self.doctor is not None:
            with suppress(OSError):  # a disk that cannot be read costs the diagnosis, never the run
                self._say_all(self.doctor.look(values))

    def _warn_of_saturation(self) -> None:
        if self.state.augmentation.saturates_between(self.clock.start_nimg, self.state.nimg):
            self.log.say(
                f"Warning: augmentation stands at its cap, p = {self.config.augment.cap:g}, and the discriminator "
                "still overfits: there are too few pictures for this length of training. More pictures help, or a "
                "network to start from (--init-from); the best snapshot may be an earlier one."
            )

    # ---- saving

    def _housekeeping(self, done: bool) -> None:
        """Save what is due, and leave if a signal came; all processes decide alike."""
        due = self.saver.due(self.state.nimg, self.signals, done=done)
        if due.snapshot:
            self.saver.save_snapshot(self.state)
        saved = True
        if due.snapshot or due.checkpoint or due.signal_number:
            saved = self._save_checkpoint()
        if due.signal_number:
            if not due.snapshot:
                self.saver.save_parting(self.state)
            told = "everything is saved" if saved else "only older checkpoints are saved, this one was not possible"
            raise Interrupted(
                due.signal_number,
                f"stopped by {signal.Signals(due.signal_number).name} at {self.state.nimg / 1000:.1f} kimg; "
                f"{told}: the same command with --resume goes on.",
            )
        if due.snapshot:
            self.saver.measure_snapshot(self.state)

    def _save_checkpoint(self) -> bool:
        progress = {
            "memory_limit": self.memory_limit,
            "tick": self.clock.index,
            "tick_start_nimg": self.clock.start_nimg,
        }
        position = self.feed.position()  # of all processes, which ask together
        return self.saver.save_checkpoint(self.state, position, progress)

    # ---- divergence

    def _take_back(self, phase: str) -> None:
        """Go back to the last checkpoint once, with other random numbers and in float32; the second time, give up."""
        if self.state.salt:
            raise DivergedError(
                f"losses of {phase} are not finite at {self.state.nimg / 1000:.1f} kimg, again after going back to a "
                "checkpoint in float32. The last checkpoint and snapshots are kept. Start anew with a larger --gamma "
                "or smaller learning rates."
            )
        self.state = new_state(self.config, self.device)
        if isinstance(self.trainer.runner, Recorder):
            self.trainer.runner.forget()  # what it recorded works on the networks before
        self.feed = self._fresh_feed()
        if not self._recall():
            self._begin()
        self.clock.told_nimg, self.clock.told_time = self.state.nimg, time.monotonic()
        self.state.salt += 1
        self.state.fp32_until_nimg = self.state.nimg + FP32_AFTER_DIVERGENCE_NIMG
        self.statistics.forget_skipped()
        self.saver.trim(self.state.nimg)
        self._call_doctor()
        self.log.say(
            f"Losses of {phase} were not finite {BAD_STEPS_IN_A_ROW} times in a row: back to "
            f"{self.state.nimg / 1000:.1f} kimg with other random numbers, in float32 for "
            f"{FP32_AFTER_DIVERGENCE_NIMG / 1000:g} kimg."
        )

    def _say_all(self, lines: list[str]) -> None:
        for line in lines:
            self.log.say(line)
