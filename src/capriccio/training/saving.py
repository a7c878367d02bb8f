"""What a run writes so that it stays: snapshots with their sheets and numbers, and checkpoints; when, and how."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from capriccio.config import RunConfig
from capriccio.data.dataset import ImageDataset
from capriccio.errors import Interrupted, JobError, StorageError, WorkerError
from capriccio.processes import Processes
from capriccio.training.checkpoint import remove_old, save_checkpoint
from capriccio.training.run_folder import RunFolder
from capriccio.training.run_log import RunLog
from capriccio.training.samples import SampleSheet, save_reals
from capriccio.training.snapshot_metrics import Best, SnapshotMetrics
from capriccio.training.state import TrainingState
from capriccio.training.take_snapshot import take_snapshot


@dataclass(frozen=True, slots=True)
class Due:
    """What the processes of a run agreed on doing now."""

    snapshot: bool
    checkpoint: bool
    signal_number: int
    """Of the signal that asks the run to stop; 0 = none did."""


class Saver:
    """Knows when what is due, and writes it; asked by all processes of a run, written by the main one.

    A full disk costs a line in the log, never the run: what could be saved later is tried again later.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        log: RunLog,
        processes: Processes,
        device: torch.device,
        metrics: SnapshotMetrics | None,
        dataset: ImageDataset,
    ) -> None:
        self._config = config
        self._folder = folder
        self._log = log
        self._processes = processes
        self._device = device
        self._metrics = metrics
        self._snapshot_nimg = 0
        """Of the last snapshot, or where the run began."""
        self._snapshot_time = 0.0
        self._checkpoint_time = 0.0
        self._first_snapshot_done = False
        self.use(dataset)

    def use(self, dataset: ImageDataset) -> None:
        """Name ``dataset`` as what is learnt from in everything written from now on."""
        self._dataset = dataset
        self._sheet = SampleSheet(self._config.generator, dataset, self._device)

    # ---- beginning

    def begin(self, state: TrainingState, session: Mapping[str, Any], *, resumed: bool) -> None:
        """Start the clocks and write what a session writes first: its settings and circumstances, and a first sheet."""
        self._checkpoint_time = self._snapshot_time = time.monotonic()
        if not self._processes.is_main:
            return
        self._folder.write_config(self._config)
        self.trim(state.nimg)
        self._folder.note_session(dict(session))
        if not resumed:
            save_reals(self._folder.reals, self._dataset)
            self._sheet.save(self._folder.sheet(state.nimg), state.generator_ema)

    def trim(self, nimg: int) -> None:
        """Forget what was told and measured after ``nimg``: the run stands there again."""
        self._log.trim(nimg)
        if self._metrics is not None and self._processes.is_main:
            self._metrics.trim(nimg)

    def begin_at(self, nimg: int) -> None:
        """Count the images until the first snapshot from here on."""
        self._snapshot_nimg = nimg

    def recall(self, progress: Mapping[str, Any]) -> None:
        """Go on from what a checkpoint knows."""
        self._snapshot_nimg = progress["snapshot_nimg"]
        self._first_snapshot_done = progress["first_snapshot_done"]

    # ---- when

    def due(self, nimg: int, signals: list[int], *, done: bool) -> Due:
        """Return what is to be done now; all processes are told the same."""
        saving, now = self._config.saving, time.monotonic()
        minutes = saving.snapshot_minutes if self._first_snapshot_done else saving.first_snapshot_minutes
        images = nimg - self._snapshot_nimg
        mine = Due(
            snapshot=done or images >= saving.snapshot_kimg * 1000 or now - self._snapshot_time >= 60 * minutes,
            checkpoint=now - self._checkpoint_time >= 60 * saving.checkpoint_minutes,
            signal_number=signals[0] if signals else 0,
        )
        if self._processes.world_size == 1:  # and the device need not be waited for
            return mine
        # Clocks differ and a signal may reach one process only; the main one decides, unless another was told to stop.
        anywhere = int(self._processes.sum(torch.tensor(mine.signal_number, device=self._device)))
        decided = self._processes.share(mine)
        assert isinstance(decided, Due)
        number = (mine.signal_number or decided.signal_number or int(signal.SIGTERM)) if anywhere else 0
        return replace(decided, signal_number=number)

    # ---- how

    def save_snapshot(self, state: TrainingState) -> None:
        """Write snapshot and sheet of this moment, and remove older ones that need not be kept."""
        if self._processes.is_main:
            snapshot = self._folder.snapshot(state.nimg)
            try:
                take_snapshot(snapshot, self._config, state, self._dataset.card)
                if self._config.saving.travelling:
                    self._save_travelling(state)
                self._sheet.save(self._folder.sheet(state.nimg), state.generator_ema)
                best = self._best()
                self._folder.prune_snapshots(self._config.saving, best=best.snapshot if best else None)
            except StorageError as error:
                self._log.say(f"Warning: {error}")
            else:
                self._log.say(f"Saved {snapshot.name}.")
        self._snapshot_nimg, self._snapshot_time, self._first_snapshot_done = state.nimg, time.monotonic(), True

    def save_last_snapshot(self, state: TrainingState) -> None:
        """Write the last snapshot if it was not possible before: nothing else is left to be done, so now it counts.

        Raises: StorageError if it still is not possible.
        """
        last = self._folder.snapshot(state.nimg)
        if self._processes.is_main and not last.exists():
            take_snapshot(last, self._config, state, self._dataset.card)

    def save_parting(self, state: TrainingState) -> None:
        """Renew the travelling snapshot of a run that is asked to stop: a convenience, its checkpoint has more."""
        if self._config.saving.travelling and self._processes.is_main:
            with suppress(StorageError):
                self._save_travelling(state)

    def _save_travelling(self, state: TrainingState) -> None:
        take_snapshot(self._folder.travelling, self._config, state, self._dataset.card, "float16")

    def save_checkpoint(self, state: TrainingState, position: dict[str, Tensor], progress: Mapping[str, Any]) -> bool:
        """Save a checkpoint, or say why that is not possible; return whether it was.

        Args:
            state: everything that is learnt.
            position: where the feed of data stands.
            progress: what else the run must recall; :meth:`recall` finds the saver's own part beside it.
        """
        card = self._dataset.card
        own = {
            "data_hash": card.hash,
            "data_history": list(card.grown_from),
            "snapshot_nimg": self._snapshot_nimg,
            "first_snapshot_done": self._first_snapshot_done,
        }
        signs = self._processes.sum(state.augmentation.signs)
        saved = True
        if self._processes.is_main:
            folder = self._folder.checkpoints
            try:
                newest = save_checkpoint(folder, state, position, own | dict(progress), signs)
                best = self._best()
                remove_old(folder, self._config.saving.keep_checkpoints, newest, best_nimg=best.nimg if best else None)
            except StorageError as error:
                self._log.say(f"Warning: {error}")
                saved = False
        self._processes.wait()
        self._checkpoint_time = time.monotonic()
        return saved

    # ---- how good

    def measure_snapshot(self, state: TrainingState) -> None:
        """Measure the averaged generator if there is a snapshot of this moment that was not measured yet."""
        if self._metrics is None:
            return
        nimg, snapshot = state.nimg, self._folder.snapshot(state.nimg)
        if not self._processes.share(snapshot.exists() and not self._metrics.measured(nimg)):
            return
        try:
            evaluation = self._metrics.measure(state.generator_ema, nimg, snapshot)
        except (Interrupted, WorkerError):
            raise
        except (JobError, OSError) as error:  # costs the number, never the run
            self._log.say(f"Warning: {snapshot.name} was not measured: {error}")
            return
        numbers = evaluation.values | {"nimg": float(nimg)}  # the tick they are told with ended a little earlier
        self._log.amend(
            {f"Metrics/{name}": {"num": 1, "mean": value, "std": 0.0} for name, value in numbers.items()}, nimg=nimg
        )
        best = self._best() if self._processes.is_main else None
        self._log.say(
            f"Measured {snapshot.name}: "
            + ", ".join(f"{name} {value:.4g}" for name, value in evaluation.values.items())
            + (f". Best by {best.number}: {best.snapshot} ({best.value:.4g})." if best else ".")
        )

    def _best(self) -> Best | None:
        return None if self._metrics is None else self._metrics.best()
