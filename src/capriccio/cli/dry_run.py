"""``capriccio train … --dry-run``: the resolved run and what it takes on this machine, before anything is started."""

from __future__ import annotations

import torch
import yaml

from capriccio.augmentation.pipes import describe as describe_augmentation
from capriccio.bench.peak import ConvolutionPeak
from capriccio.config import RunConfig, to_dict
from capriccio.devices import choose_device, choose_precision
from capriccio.processes import Processes
from capriccio.subjects import explain_gamma
from capriccio.training.footprint import footprint
from capriccio.training.recording import is_recorded
from capriccio.wording import counted, duration

_USUAL_SHARE = {"cuda": 0.2}
_USUAL_SHARE_ELSEWHERE = 0.6
"""Share of the speed of its convolutions that an iteration usually reaches: docs/benchmarks.md, docs/gpu.md."""


def describe(config: RunConfig, *, device_name: str, num_processes: int) -> str:
    """Return the resolved run as YAML, followed by its size, memory and time as YAML comments."""
    device = choose_device(device_name)
    precision = choose_precision(config.precision, device)
    is_recorded(config.cuda_graphs, device, Processes(0, num_processes))  # refused now rather than later
    share = _USUAL_SHARE.get(device.type, _USUAL_SHARE_ELSEWHERE)
    round_size = config.batch_per_round or config.batch // num_processes
    needs = footprint(config, round_size=round_size, dtype=precision.dtype)
    speed = ConvolutionPeak(device, precision.dtype or torch.float32).measure()
    rate = share * speed * num_processes / needs.flops_per_image
    rounds = config.batch // (round_size * num_processes)
    notes = {
        "generator": f"{needs.generator_parameters:,} parameters",
        "discriminator": f"{needs.discriminator_parameters:,} parameters",
        "batch": f"{config.batch} = {counted(num_processes, 'process', 'processes')} × {counted(rounds, 'round')} × "
        f"{counted(round_size, 'picture')}",
        "device": f"{device}, {precision.name}: {precision.reason}",
        "memory": f"about {_gib(needs.total_bytes)} a process and PyTorch itself: {_gib(needs.state_bytes)} for "
        f"weights, gradients and Adam, {_gib(needs.phase_bytes)} for the largest phase",
        "arithmetic": f"{needs.flops_per_image / 1e9:,.1f} GFLOP per image",
        "time": f"about {duration(config.total_kimg * 1000 / rate)} for {config.total_kimg:g} kimg at {rate:,.1f} "
        f"images/s, {share:.0%} of what a convolution reached just now ({speed / 1e9:,.0f} GFLOP/s)",
        "R1 gamma": f"{config.loss.r1_gamma:g}, {explain_gamma(config)}",
        "augmentation": describe_augmentation(config.augment, config.generator.shape.channels),
    }
    resolved: str = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    return resolved + "".join(f"\n# {about:<15}{note}" for about, note in notes.items())


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
