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
    StorageError,
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
from capriccio.training.checkpoint import load_newest, remove_old, save_checkpoint
from capriccio.training.draws import SeededDraws
from capriccio.training.feed import Feed, open_data
from capriccio.training.greeting import greeting, number_of_pictures
from capriccio.training.iteration import Batch, Phases, Trainer, compiled_phases
from capriccio.training.overfitting import Overfitting, measure_overfitting
from capriccio.training.recording import Recorder, choose_runner, is_recorded
from capriccio.training.report import RunLog, Statistics, memory_use
from capriccio.training.run_folder import RunFolder
from capriccio.training.samples import SampleSheet, save_reals
from capriccio.training.snapshot_metrics import SnapshotMetrics
from capriccio.training.state import TrainingState, new_state
from capriccio.training.take_snapshot import take_snapshot
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
class _Clock:
    """When things happened last."""

    tick: int = 0
    tick_start_nimg: int = 0
    told_nimg: int = 0
    """Where this session began to measure the rate of the tick: its start, or where the session resumed."""
    told_time: float = 0.0
    snapshot_nimg: int = 0
    """Of the last snapshot, or where the run began."""
    snapshot_time: float = 0.0
    checkpoint_time: float = 0.0
    first_snapshot_done: bool = False


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
        self.clock = _Clock()
        self.doctor: LiveDoctor | None = None
        phases = compiled_phases() if config.compile else Phases()
        runner = choose_runner(config.cuda_graphs, device, processes, say=self.log.say)
        self.trainer = Trainer(config, processes, phases, self.statistics, runner=runner)
        self.sheet = SampleSheet(config.generator, data.train, device)
        self.metrics = metrics

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
        now, clock = time.monotonic(), self.clock
        clock.told_time = clock.checkpoint_time = clock.snapshot_time = now
        clock.told_nimg = self.state.nimg
        if self.processes.is_main:
            self.folder.write_config(self.config)
            self.log.trim(self.state.nimg)
            if self.metrics is not None:
                self.metrics.trim(self.state.nimg)
            self.folder.note_session(
                {
                    "resumed_at_nimg": self.state.nimg,
                    "device": str(self.device),
                    "precision": self.precision.name,
                    "processes": self.processes.world_size,
                }
            )
            if not resumed:
                save_reals(self.folder.samples / "reals.png", self.data.train)
                self.sheet.save(self.folder.samples, self.state.generator_ema, self.state.nimg)
        self._call_doctor()
        self._measure_snapshot()  # where the session before was stopped while it measured

    def _begin(self) -> None:
        """Start at the beginning: from other networks if there are any, else as built."""
        self._say_all(self.origin.begin(self.state))
        if self.state.warm_start_nimg:
            self.feed = self._fresh_feed()
        self.clock.tick_start_nimg = self.clock.snapshot_nimg = self.state.nimg

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
        clock = self.clock
        clock.tick, clock.tick_start_nimg = progress["tick"], progress["tick_start_nimg"]
        clock.snapshot_nimg = progress["snapshot_nimg"]
        clock.first_snapshot_done = progress["first_snapshot_done"]
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
        self.sheet = SampleSheet(self.config.generator, self.data.train, self.device)

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
            if done or self.state.iteration == 1 or self.state.nimg >= self.clock.tick_start_nimg + tick_nimg:
                self._end_tick()
            if self.processes.world_size == 1 or done or self.state.iteration % CHECK_INTERVAL == 0:
                self._housekeeping(done)
            if self.state.iteration % CHECK_INTERVAL == 0:
                skipped, phase = self.statistics.skipped_in_a_row()
                if skipped >= BAD_STEPS_IN_A_ROW:
                    self._take_back(phase)
        last = self.folder.snapshot(self.state.nimg)
        if self.processes.is_main and not last.exists():
            # Nothing is left to be done but this, and it was not possible before: now it counts.
            take_snapshot(last, config, self.state, self.data.train.card)
        self.log.say(f"Done: {self.state.nimg / 1000:g} kimg.")
        return last

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
            index=clock.tick,
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
        clock.tick += 1
        clock.tick_start_nimg = clock.told_nimg = state.nimg
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
        if self.state.augmentation.saturates_between(self.clock.tick_start_nimg, self.state.nimg):
            self.log.say(
                f"Warning: augmentation stands at its cap, p = {self.config.augment.cap:g}, and the discriminator "
                "still overfits: there are too few pictures for this length of training. More pictures help, or a "
                "network to start from (--init-from); the best snapshot may be an earlier one."
            )

    # ---- saving

    def _housekeeping(self, done: bool) -> None:
        """Save what is due, and leave if a signal came; all processes decide alike."""
        snapshot_due, checkpoint_due, signal_number = self._due(done)
        if snapshot_due:
            self._save_snapshot()
        saved = True
        if snapshot_due or checkpoint_due or signal_number:
            saved = self._save_checkpoint()
        if signal_number:
            if self.config.saving.travelling and self.processes.is_main and not snapshot_due:
                with suppress(StorageError):  # a convenience: the checkpoint has everything, and more
                    take_snapshot(self.folder.travelling, self.config, self.state, self.data.train.card, "float16")
            told = "everything is saved" if saved else "only older checkpoints are saved, this one was not possible"
            raise Interrupted(
                signal_number,
                f"stopped by {signal.Signals(signal_number).name} at {self.state.nimg / 1000:.1f} kimg; "
                f"{told}: the same command with --resume goes on.",
            )
        if snapshot_due:
            self._measure_snapshot()

    def _due(self, done: bool) -> tuple[bool, bool, int]:
        saving, clock, now = self.config.saving, self.clock, time.monotonic()
        minutes = saving.snapshot_minutes if clock.first_snapshot_done else saving.first_snapshot_minutes
        images = self.state.nimg - clock.snapshot_nimg
        snapshot = done or images >= saving.snapshot_kimg * 1000 or now - clock.snapshot_time >= 60 * minutes
        checkpoint = now - clock.checkpoint_time >= 60 * saving.checkpoint_minutes
        mine = (snapshot, checkpoint, self.signals[0] if self.signals else 0)
        if self.processes.world_size == 1:  # and the device need not be waited for
            return mine
        # Clocks differ and a signal may reach one process only; the main one decides, unless another was told to stop.
        signal_number = int(self.processes.sum(torch.tensor(mine[2], device=self.device)))
        decided = self.processes.share(mine)
        assert isinstance(decided, tuple)
        if signal_number:
            signal_number = mine[2] or decided[2] or signal.SIGTERM
        return decided[0], decided[1], signal_number

    def _save_snapshot(self) -> None:
        state, clock = self.state, self.clock
        if self.processes.is_main:
            snapshot = self.folder.snapshot(state.nimg)
            try:
                take_snapshot(snapshot, self.config, state, self.data.train.card)
                if self.config.saving.travelling:
                    take_snapshot(self.folder.travelling, self.config, state, self.data.train.card, "float16")
                self.sheet.save(self.folder.samples, state.generator_ema, state.nimg)
                best = None if self.metrics is None else self.metrics.best()
                self.folder.prune_snapshots(self.config.saving, best=best.snapshot if best else None)
            except StorageError as error:
                self.log.say(f"Warning: {error}")
            else:
                self.log.say(f"Saved {snapshot.name}.")
        clock.snapshot_nimg, clock.snapshot_time, clock.first_snapshot_done = state.nimg, time.monotonic(), True

    def _measure_snapshot(self) -> None:
        """Measure the averaged generator if there is a snapshot of this moment that was not measured yet."""
        if self.metrics is None:
            return
        nimg, snapshot = self.state.nimg, self.folder.snapshot(self.state.nimg)
        if not self.processes.share(snapshot.exists() and not self.metrics.measured(nimg)):
            return
        try:
            evaluation = self.metrics.measure(self.state.generator_ema, nimg, snapshot)
        except (Interrupted, WorkerError):
            raise
        except (JobError, OSError) as error:  # costs the number, never the run
            self.log.say(f"Warning: {snapshot.name} was not measured: {error}")
            return
        numbers = evaluation.values | {"nimg": float(nimg)}  # the tick they are told with ended a little earlier
        self.log.amend(
            {f"Metrics/{name}": {"num": 1, "mean": value, "std": 0.0} for name, value in numbers.items()}, nimg=nimg
        )
        best = self.metrics.best() if self.processes.is_main else None
        self.log.say(
            f"Measured {snapshot.name}: "
            + ", ".join(f"{name} {value:.4g}" for name, value in evaluation.values.items())
            + (f". Best by {best.number}: {best.snapshot} ({best.value:.4g})." if best else ".")
        )

    def _save_checkpoint(self) -> bool:
        """Save a checkpoint, or say why that is not possible; return whether it was."""
        clock, folder = self.clock, self.folder.checkpoints
        progress = {
            "data_hash": self.data.train.card.hash,
            "data_history": list(self.data.train.card.grown_from),
            "memory_limit": self.memory_limit,
            "tick": clock.tick,
            "tick_start_nimg": clock.tick_start_nimg,
            "snapshot_nimg": clock.snapshot_nimg,
            "first_snapshot_done": clock.first_snapshot_done,
        }
        position = self.feed.position()  # of all processes, which ask together
        signs = self.processes.sum(self.state.augmentation.signs)
        saved = True
        if self.processes.is_main:
            try:
                newest = save_checkpoint(folder, self.state, position, progress, signs)
                best = None if self.metrics is None else self.metrics.best()
                remove_old(folder, self.config.saving.keep_checkpoints, newest, best_nimg=best.nimg if best else None)
            except StorageError as error:
                self.log.say(f"Warning: {error}")
                saved = False
        self.processes.wait()
        clock.checkpoint_time = time.monotonic()
        return saved

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
        self.log.trim(self.state.nimg)
        self._call_doctor()
        self.log.say(
            f"Losses of {phase} were not finite {BAD_STEPS_IN_A_ROW} times in a row: back to "
            f"{self.state.nimg / 1000:.1f} kimg with other random numbers, in float32 for "
            f"{FP32_AFTER_DIVERGENCE_NIMG / 1000:g} kimg."
        )

    def _say_all(self, lines: list[str]) -> None:
        for line in lines:
            self.log.say(line)
