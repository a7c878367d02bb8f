"""One session of a run, top to bottom: begin or resume, iterate, save, tell, and go back where losses break."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from capriccio.config import RunConfig
from capriccio.data.dataset import DatasetSplit
from capriccio.devices import ChosenPrecision, tuned_libraries
from capriccio.doctor.examination import LiveDoctor
from capriccio.errors import ConfigError, DatasetError, DivergedError, Interrupted, JobError, RunError
from capriccio.networks.layers import largest_divisor
from capriccio.processes import Processes
from capriccio.training.checkpoint import load_newest
from capriccio.training.draws import SeededDraws
from capriccio.training.feed import Feed, open_data
from capriccio.training.greeting import greeting
from capriccio.training.iteration import Batch, Phases, Trainer, compiled_phases
from capriccio.training.origin import Origin
from capriccio.training.overfitting import Overfitting, measure_overfitting
from capriccio.training.recording import Recorder, choose_runner
from capriccio.training.run_folder import RunFolder
from capriccio.training.run_log import RunLog
from capriccio.training.saving import Saver
from capriccio.training.snapshot_metrics import SnapshotMetrics
from capriccio.training.state import TrainingState, new_state
from capriccio.training.statistics import Statistics
from capriccio.training.tick import Tick, memory_use

BAD_STEPS_IN_A_ROW = 16
"""Steps skipped for non-finite losses, one after another, after which the run counts as diverged."""

FP32_AFTER_DIVERGENCE_NIMG = 4000
"""A run that was taken back runs in float32 for this long."""

CHECK_INTERVAL = 8
"""Iterations between two looks at signals, clocks and skipped steps where looking makes processes wait."""


@dataclass
class _TickClock:
    """Where the tick began that is under way."""

    index: int = 0
    start_nimg: int = 0
    told_nimg: int = 0
    """Where this session began to measure the rate of the tick: its start, or where the session resumed."""
    told_time: float = 0.0


class Session:
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
        origin: Origin,
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
