"""The processes of one run: what they exchange, how they begin and end, and which signals reach them."""

from __future__ import annotations

import importlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from capriccio.errors import WorkerError

T = TypeVar("T")

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another that is alive but busy; one that died is noticed at once."""

PREPARATION_TIMEOUT = timedelta(hours=24)
"""The same while the main process prepares what the others use: a large data set takes hours to be read first."""


@dataclass(frozen=True)
class Processes:
    """This process among those of the run; a single one needs no communication.

    Launched by ``torchrun``, which sets the environment.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of ``value`` over all processes."""
        if self.world_size > 1:
            value = value.clone()
            self._all_reduce(value)
        return value

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its mean over all processes, in one flat exchange, in place."""
        if self.world_size == 1:
            return
        flat = torch.cat([t.reshape(-1).float() for t in tensors])
        self._all_reduce(flat)
        flat /= self.world_size
        offset = 0
        for t in tensors:
            t.copy_(flat[offset : offset + t.numel()].view_as(t))
            offset += t.numel()

    def share(self, value: object) -> object:
        """Return the main process's ``value`` on every process."""
        if self.world_size == 1:
            return value
        box = [value]
        with _worker_errors():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Return every process's ``value``, in the order of their ranks, on every process."""
        if self.world_size == 1:
            return [value]
        box: list[Any] = [None] * self.world_size
        with _worker_errors():
            dist.all_gather_object(box, value)
        return box

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world_size > 1:
            with _worker_errors():
                dist.barrier()

    def main_first(self, work: Callable[[], T]) -> T:
        """Do ``work`` here and on every process, on the others when the main one is done, however long that takes.

        For work that fills a cache: the others find it filled.
        """
        if self.world_size == 1:
            return work()
        with _worker_errors():
            patient = dist.new_group(backend="gloo", timeout=PREPARATION_TIMEOUT)
        try:
            if not self.is_main:
                with _worker_errors():
                    dist.barrier(patient)
            result = work()
            if self.is_main:
                with _worker_errors():
                    dist.barrier(patient)
            return result
        finally:
            dist.destroy_process_group(patient)

    def _all_reduce(self, value: Tensor) -> None:
        with _worker_errors():
            dist.all_reduce(value)


@contextmanager
def _worker_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, dist.DistBackendError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise WorkerError(
            f"another process of this run died or stopped answering ({first_line}). "
            "Everything saved is kept: start all processes again with --resume."
        ) from error


def launched_processes() -> Processes:
    """Return this process among those that ``torchrun`` started, for work that is shared without any exchange."""
    return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started; without it, be the only one.

    At the end, also by an error, the group is gone with its threads. It must be: a thread of gloo that lets go of its
    last tensor while the interpreter shuts down is killed for touching it, and takes the process along ("terminate
    called without an active exception", SIGABRT), after all was done. ``destroy_process_group`` ends the threads only
    if nothing else holds the group.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Processes()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Its functions have the group of the moment they are imported as default argument and would hold it forever;
    # torch.compile and torch.func import it at first use. Imported now, they hold None.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    try:
        yield Processes(dist.get_rank(), world_size)
    except BaseException as error:
        _clear_frames(error)
        raise
    finally:
        dist.destroy_process_group()


def _clear_frames(error: BaseException) -> None:
    """Empty the left functions in the tracebacks of ``error`` and its causes: their variables may hold the group."""
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__


@contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying of them; a second one acts as it would have without us."""
    received: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[signal.Signals(number)])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, receive)
    except ValueError:  # not in the main thread: whoever runs us handles signals
        pass
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
