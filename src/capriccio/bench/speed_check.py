"""The doctor's look at a machine's speed: training and generating for about ten seconds."""

from __future__ import annotations

import time

import torch

from capriccio.bench.flops import judged_flops
from capriccio.bench.measure import Shares, measure
from capriccio.bench.peak import ConvolutionPeak
from capriccio.bench.reference import REFERENCE
from capriccio.bench.workload import TrainingWorkload, bench_run
from capriccio.config import ImageShape
from capriccio.devices import ChosenPrecision
from capriccio.doctor.installation import Speed
from capriccio.presets import with_fp16_clamp

_SECONDS = 10.0


def check_speed(device: torch.device, precision: ChosenPrecision) -> Speed:
    """Train and generate for about ten seconds with the configuration that `capriccio bench` measures."""
    config = bench_run(ImageShape(), **REFERENCE)
    if precision.name == "fp16":
        config = with_fp16_clamp(config)
    training, generating = judged_flops(config, config)
    started = time.monotonic()
    workload = TrainingWorkload(config, device, precision.dtype)
    iteration = workload.train().total
    # Two more iterations warm up before the measured ones, and the peak takes its time beside each.
    left = _SECONDS - (time.monotonic() - started)
    speed = measure(
        workload,
        ConvolutionPeak(device, precision.dtype or torch.float32, batch=config.batch),
        device,
        iterations=min(max(int(left / (1.2 * iteration)) - 2, 1), 20),
        shares=Shares.of_run(config),
        training_flops=training,
        generating_flops=generating,
    )
    return Speed(
        configuration=f"64×64, batch {config.batch}, {precision.name}",
        train_images_per_second=speed.train_images_per_second,
        generate_images_per_second=speed.generate_images_per_second,
        train_share_of_peak=speed.train_share_of_peak,
        seconds=time.monotonic() - started,
    )
