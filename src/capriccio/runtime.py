"""The machine: devices, precision, and the processes of one run."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from capriccio.errors import ConfigError, WorkerError

T = TypeVar("T")

COLLECTIVE_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another that is alive but busy; one that died is noticed at once."""

PREPARATION_TIMEOUT = timedelta(hours=24)
"""The same while the main process prepares what the others use: a large data set takes hours to be read first."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps.

    Of several processes on a machine each gets the CUDA device of its own number, unless one is named.

    Raises: ConfigError when this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device: '{name}' is not a device; use auto, cpu, cuda, cuda:N or mps.") from None
    if device.type not in ("cpu", "cuda", "mps") or (device.type != "cuda" and device.index):
        raise ConfigError(f"--device: '{name}' is not a device here; use auto, cpu, cuda, cuda:N or mps.")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device: this machine has {torch.cuda.device_count()} CUDA devices, '{name}' is not one.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("--device: mps is not available on this machine; use cpu.")
    return device


@dataclass(frozen=True)
class ChosenPrecision:
    """The precision of the highest levels, and why."""

    name: str
    """fp32, bf16 or fp16."""
    dtype: torch.dtype | None
    """What networks are set to; None = everything in float32."""
    reason: str


def choose_precision(name: str, device: torch.device) -> ChosenPrecision:
    """Return the precision called ``name``, or for ``auto`` the fastest safe one of ``device``.

    Raises: ConfigError for a precision the device does not have.
    """
    if name == "fp32":
        return ChosenPrecision("fp32", None, "as asked")
    if name == "fp16":
        if device.type == "cpu":
            raise ConfigError("--precision fp16 needs a GPU; on a processor use bf16 or fp32.")
        return ChosenPrecision("fp16", torch.float16, "as asked")
    if name == "bf16":
        return ChosenPrecision("bf16", torch.bfloat16, "as asked")
    if name != "auto":
        raise ConfigError(f"--precision: '{name}' is none of auto, fp32, bf16, fp16.")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return ChosenPrecision("bf16", torch.bfloat16, "this GPU has bf16 units, and bf16 cannot overflow")
        return ChosenPrecision("fp16", torch.float16, "this GPU has fp16 units but no bf16")
    if device.type == "cpu" and cpu_has_bf16():
        return ChosenPrecision("bf16", torch.bfloat16, "this processor multiplies bf16 natively")
    return ChosenPrecision("fp32", None, "this device has no fast low precision")


@cache
def cpu_has_bf16() -> bool:
    """Return whether the processor has bf16 dot products (AVX512-BF16, AMX)."""
    try:
        with open("/proc/cpuinfo") as f:
            flags = next((line for line in f if line.startswith(("flags", "Features"))), "")
    except OSError:
        return False
    return any(flag in flags.split() for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def most_resident_bytes() -> int | None:
    """Return the most memory this process held until now; None where the system does not tell."""
    if os.name != "posix":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def tuned_libraries(device: torch.device, dtype: torch.dtype | None) -> Iterator[None]:
    """Let PyTorch's libraries compute on a GPU as suits training whose highest levels are in ``dtype``; None = float32.

    Convolutions: shapes are the same all through a run, so all algorithms are tried at the first of each. Products of
    float32 matrices (augmentation, mapping, styles): with factors rounded to TF32, 11 bits, where maps have 8 or 11
    bits anyway. What is measured between iterations is left as exact as it is; so are other devices.
    """
    if device.type != "cuda":
        yield
        return
    benchmark, products = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("highest" if dtype is None else "high")
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.set_float32_matmul_precision(products)


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
