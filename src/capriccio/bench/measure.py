"""Measure a workload in turns with the peak: rates, and shares of the peak as medians of ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from capriccio.bench.peak import ConvolutionPeak, seconds
from capriccio.config import RunConfig
from capriccio.devices import most_resident_bytes

_WARM_UP = 2


@dataclass(frozen=True)
class IterationSeconds:
    """One iteration of training, taken apart."""

    total: float
    phases: Mapping[str, float]
    """By name of the phase, optimiser included: Gmain, Dmain, and Greg, Dreg when they ran."""
    optimizer: Mapping[str, float]
    """The optimiser step of each phase, contained in ``phases``."""
    ema: float
    """Updating the averaged generator."""


class Workload(Protocol):
    """What is measured: a training iteration and generation, of one configuration in one precision."""

    @property
    def batch(self) -> int:
        """Images per iteration, and per call of :meth:`generate`."""
        ...

    def train(self) -> IterationSeconds:
        """Run one iteration in which every lazy regulariser is due."""
        ...

    def generate(self) -> None:
        """Generate one batch of images from latents."""
        ...


@dataclass(frozen=True)
class Shares:
    """How often the phases of the lazy regularisers run, per iteration."""

    greg: float
    dreg: float

    @classmethod
    def of_run(cls, config: RunConfig) -> Shares:
        """Return those of a run."""
        return cls(greg=1 / (config.loss.pl_interval or 1), dreg=1 / (config.loss.r1_interval or 1))

    def by_phase(self) -> Mapping[str, float]:
        """Return the shares by the names of the phases."""
        return {"Greg": self.greg, "Dreg": self.dreg}


@dataclass(frozen=True)
class Speed:
    """What was measured of one workload."""

    convolution_peak_gflops: float
    train_images_per_second: float
    train_share_of_peak: float
    generate_images_per_second: float
    generate_share_of_peak: float
    phase_milliseconds: Mapping[str, float]
    """Median duration of each phase, optimiser included."""
    phase_images_per_second: Mapping[str, float]
    """The batch over that duration."""
    optimizer_milliseconds: float
    """Optimiser steps of an iteration, regularisers at their share."""
    ema_milliseconds: float
    memory_mib: float
    """Most memory until now: resident on a processor, allocated on a GPU."""


def measure(
    workload: Workload,
    peak: ConvolutionPeak,
    device: torch.device,
    *,
    iterations: int,
    shares: Shares,
    training_flops: float,
    generating_flops: float,
) -> Speed:
    """Measure ``iterations`` times, each between two measurements of the peak.

    An iteration as training runs them on average is an iteration without regularisers plus the share of each
    regulariser, measured in the same iteration: a ratio compares only what ran within the same second or two.
    Generation is that of a network which stays as it is: a first batch goes unmeasured, so that what is kept of the
    weights is there.

    Args:
        workload: what is measured.
        peak: measured in turns with it.
        device: where both run.
        iterations: number of measured iterations; two more warm up.
        shares: how often the regularisers run.
        training_flops: work of one trained image.
        generating_flops: work of one generated image.
    """
    batch = workload.batch
    lazy = shares.by_phase()
    for _ in range(_WARM_UP):
        workload.train()
        workload.generate()
    peaks: list[float] = []
    train_seconds, train_ratios, generate_seconds, generate_ratios = [], [], [], []
    runs: list[IterationSeconds] = []
    before = peak.measure()
    for _ in range(iterations):
        run = workload.train()
        workload.generate()  # with the weights training left: what is kept of them is prepared
        between = peak.measure()
        generating = seconds(workload.generate, device)
        after = peak.measure()
        whole = _average_iteration(run, lazy)
        runs.append(run)
        peaks += [before, between]
        train_seconds.append(whole)
        train_ratios.append(batch * training_flops / whole / ((before + between) / 2))
        generate_seconds.append(generating)
        generate_ratios.append(batch * generating_flops / generating / ((between + after) / 2))
        before = after
    names = list(runs[0].phases)
    phases = {name: statistics.median(run.phases[name] for run in runs) for name in names}
    return Speed(
        convolution_peak_gflops=statistics.median(peaks) / 1e9,
        train_images_per_second=batch / statistics.median(train_seconds),
        train_share_of_peak=statistics.median(train_ratios),
        generate_images_per_second=batch / statistics.median(generate_seconds),
        generate_share_of_peak=statistics.median(generate_ratios),
        phase_milliseconds={name: 1000 * value for name, value in phases.items()},
        phase_images_per_second={name: batch / value for name, value in phases.items()},
        optimizer_milliseconds=1000 * statistics.median(_weighted(run.optimizer, lazy) for run in runs),
        ema_milliseconds=1000 * statistics.median(run.ema for run in runs),
        memory_mib=_memory_bytes(device) / 2**20,
    )


def relative_cost(plain: Workload, other: Workload, *, iterations: int, shares: Shares) -> float:
    """Return how long an iteration of ``other`` takes, as a multiple of one of ``plain``.

    Measured in pairs, taking turns at going first; the median of the ratios.

    Args:
        plain: what it is compared with.
        other: what is judged.
        iterations: number of pairs; two more warm up.
        shares: how often the regularisers run.
    """
    lazy = shares.by_phase()
    ratios = []
    for pair in range(_WARM_UP + iterations):
        workloads = (plain, other) if pair % 2 else (other, plain)
        took = {id(workload): _average_iteration(workload.train(), lazy) for workload in workloads}
        ratios.append(took[id(other)] / took[id(plain)])
    return statistics.median(ratios[_WARM_UP:])


def _average_iteration(run: IterationSeconds, lazy: Mapping[str, float]) -> float:
    return run.total - sum(run.phases.values()) + _weighted(run.phases, lazy)


def _weighted(values: Mapping[str, float], shares: Mapping[str, float]) -> float:
    return sum(shares.get(name, 1.0) * value for name, value in values.items())


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return most_resident_bytes() or 0
