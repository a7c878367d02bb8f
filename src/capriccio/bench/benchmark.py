"""A whole benchmark: a configuration by precision, its bound, and what else takes a share of an iteration."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from capriccio.bench.bound import Bound, convolution_bound
from capriccio.bench.measure import Shares, Speed, measure, relative_cost
from capriccio.bench.peak import ConvolutionPeak, seconds
from capriccio.bench.workload import TrainingWorkload
from capriccio.config import AugmentConfig, RunConfig
from capriccio.data.dataset import open_dataset
from capriccio.devices import ChosenPrecision
from capriccio.processes import Processes
from capriccio.progress import Progress
from capriccio.training.feed import Feed

_BATCHES = 50
"""Whose median is the time a batch takes to get."""


@dataclass(frozen=True)
class Benchmark:
    """What was measured of one configuration."""

    speeds: Mapping[str, Speed]
    """By name of the precision: the chosen one, then fp32."""
    bound: Bound
    augmentation_cost: float | None
    """How long an augmented iteration takes, as a multiple of a plain one; None = not asked for."""


def benchmark(
    config: RunConfig,
    precision: ChosenPrecision,
    device: torch.device,
    *,
    iterations: int,
    training_flops: float,
    generating_flops: float,
    augment: AugmentConfig | None,
    progress: Progress,
) -> Benchmark:
    """Measure a configuration in ``precision``, a quarter as often in float32, its bound, and the cost of ``augment``.

    Args:
        config: the run, without augmentation.
        precision: of the highest levels; the bound is that of its convolutions.
        device: where all runs.
        iterations: measured iterations; the figures are medians.
        training_flops: work of one trained image.
        generating_flops: work of one generated image.
        augment: augmentation whose cost is measured; None = of none.
        progress: called with (done, total): of precisions, and the bound.
    """
    shares = Shares.of_run(config)
    precisions = {precision.name: precision.dtype, "fp32": None}
    speeds = {}
    for done, (name, dtype) in enumerate(precisions.items()):
        progress(done, len(precisions) + 1)
        speeds[name] = measure(
            TrainingWorkload(config, device, dtype),
            ConvolutionPeak(device, dtype or torch.float32),
            device,
            iterations=iterations if done == 0 else max(iterations // 4, 1),
            shares=shares,
            training_flops=training_flops,
            generating_flops=generating_flops,
        )
    bound = convolution_bound(config, device, precision.dtype or torch.float32)
    progress(len(precisions), len(precisions) + 1)
    cost = None
    if augment is not None:
        cost = relative_cost(
            TrainingWorkload(config, device, precision.dtype),
            TrainingWorkload(replace(config, augment=augment), device, precision.dtype),
            iterations=iterations,
            shares=shares,
        )
    return Benchmark(speeds, bound, cost)


def data_share(path: Path, config: RunConfig, device: torch.device, iteration_seconds: float) -> float:
    """Return the time to get a batch of the pictures at ``path``, over that of an iteration.

    Raises: DatasetError if they cannot be used.
    """
    shape = config.generator.shape
    data = open_dataset(path, size=(shape.height, shape.width))
    feed = Feed(config, data.train, Processes(), device)
    return statistics.median(seconds(feed.next, device) for _ in range(_BATCHES)) / iteration_seconds
