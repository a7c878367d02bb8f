"""What the machine could do at best: the rate of plain convolutions."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PEAK_SHAPES = ((64, 64), (128, 32), (256, 16))
"""(channels, side) of the three fixed 3×3 convolutions; all the same amount of work."""

_TRIES = 2

_BATCH, _BATCH_OF_GPUS = 16, 512
"""A GPU is not filled by what fills a processor."""


def synchronize(device: torch.device) -> None:
    """Wait until ``device`` has done everything it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """Return how long ``function`` takes, to the end of what it asked of ``device``."""
    synchronize(device)
    start = time.perf_counter()
    function()
    synchronize(device)
    return time.perf_counter() - start


class ConvolutionPeak:
    """The best of three fixed 3×3 forward convolutions in one precision.

    A shared machine runs the same convolution three times as fast in one second as in the next; so the peak is
    measured again beside everything that is compared with it.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, *, batch: int | None = None) -> None:
        """``batch``: images in the convolutions; None = what fills the device."""
        self._device = device
        batch = batch or (_BATCH_OF_GPUS if device.type == "cuda" else _BATCH)
        self._problems = [
            (
                filled((batch, channels, side, side), device, dtype),
                filled((channels, channels, 3, 3), device, dtype),
                2 * batch * channels**2 * 9 * side**2,
            )
            for channels, side in PEAK_SHAPES
        ]

    @torch.inference_mode()
    def measure(self) -> float:
        """Return the peak in operations per second."""
        best = 0.0
        for x, weight, flops in self._problems:
            for _ in range(_TRIES):
                best = max(best, flops / seconds(lambda x=x, w=weight: F.conv2d(x, w, padding=1), self._device))  # type: ignore[misc]
        return best


def filled(size: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a tensor of normal numbers, channels last, the same at every call."""
    values = torch.randn(size, generator=torch.Generator().manual_seed(0))
    return values.to(device, dtype).contiguous(memory_format=torch.channels_last)
