"""Training, from the wish to the network: what is checked in which order, before anything changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from capriccio.augmentation.pipes import settled
from capriccio.config import RunConfig
from capriccio.devices import choose_device, choose_precision
from capriccio.errors import ConfigError, WorkerError
from capriccio.presets import for_transfer, with_fp16_clamp, with_shape
from capriccio.processes import collected_signals, joined_processes
from capriccio.training.feed import open_data
from capriccio.training.greeting import number_of_pictures
from capriccio.training.origin import Origin
from capriccio.training.recording import is_recorded
from capriccio.training.run_folder import RunFolder
from capriccio.training.run_log import RunLog
from capriccio.training.session import Session
from capriccio.training.snapshot_metrics import SnapshotMetrics

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
        JobError: the run failed, by losses that stay non-finite (DivergedError), a full disk (StorageError), another
            process (WorkerError), too little memory, or shards that cannot be read; what was saved is kept.
    """
    chosen_device = choose_device(device)
    precision = choose_precision(config.precision, chosen_device)
    origin = Origin(init_from or None, continue_from or None)
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
        session = Session(config, folder, log, data, processes, chosen_device, precision, signals, origin, metrics)
        try:
            session.start(resume=resume)
            return session.to_the_end()
        except WorkerError as error:
            # Said here and now: torchrun stops the survivors of a dead worker, perhaps before this error comes out.
            log.say(f"Stopped at {session.state.nimg / 1000:.1f} kimg: {error}")
            raise
