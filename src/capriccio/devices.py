"""The machine that computes: devices, precisions, settings of the libraries, memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from capriccio.errors import ConfigError


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
