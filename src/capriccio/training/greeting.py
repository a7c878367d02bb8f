"""What the log of a run begins with: everything that was decided before the first picture was seen."""

from __future__ import annotations

import math

import torch

from capriccio.augmentation.pipes import describe
from capriccio.config import RunConfig
from capriccio.data.dataset import DatasetSplit, ImageDataset
from capriccio.data.stream import StreamedPictures
from capriccio.devices import ChosenPrecision
from capriccio.processes import Processes
from capriccio.subjects import explain_gamma
from capriccio.training.state import TrainingState
from capriccio.wording import counted

_SKIPPED_SHOWN = 3
_LONG_KIMG = 500
"""A run of so many images on a GPU gains more by compiling than that takes."""


def greeting(
    config: RunConfig,
    data: DatasetSplit,
    state: TrainingState,
    processes: Processes,
    device: torch.device,
    precision: ChosenPrecision,
) -> list[str]:
    """Return the first lines of a run's log: data, networks, precision, augmentation, aim, files left out."""
    train = data.train
    sizes = [sum(p.numel() for p in network.parameters()) / 1e6 for network in (state.generator, state.discriminator)]
    lines = [
        f"Data: {train.card.name}, {_amount(train)} {train.shape}"
        + (", mirrored" if train.card.mirror else "")
        + (f", labels of size {train.c_dim}" if train.c_dim else "")
        + f"; {data.heldout.num_pictures:,} held out.",
        f"Networks: generator {sizes[0]:.2f} M parameters, discriminator {sizes[1]:.2f} M.",
        f"Precision: {precision.name} ({precision.reason}); device {device}"
        + (f"; {processes.world_size} processes" if processes.world_size > 1 else "")
        + (f"; {torch.get_num_threads()} threads" if device.type == "cpu" else "")
        + ("; compiled" if config.compile else "")
        + ".",
        f"Augmentation: {describe(config.augment, config.generator.shape.channels)}.",
        f"Aim: {config.total_kimg:g} kimg in batches of {config.batch}, R1 gamma {config.loss.r1_gamma:g} "
        f"({explain_gamma(config)}).",
    ]
    if config.compile:
        lines.append("Compiling: the first iterations take minutes, fewer where they have been compiled before.")
    elif is_worth_compiling(config, device):
        lines.append("Faster: with --compile a GPU trains up to 1.8 times as fast, after some minutes of compiling.")
    if data.skipped:
        some = "; ".join(f"{file.name} ({file.reason})" for file in data.skipped[:_SKIPPED_SHOWN])
        lines.append(f"Left out {counted(len(data.skipped), 'file')}, such as: {some}.")
    return lines


def is_worth_compiling(config: RunConfig, device: torch.device) -> bool:
    """Return whether a run that does not compile should: a long one, on a GPU."""
    return device.type == "cuda" and not config.compile and config.total_kimg >= _LONG_KIMG


def number_of_pictures(pictures: ImageDataset) -> float:
    """Return how many pictures there are to train on; nobody counts a stream, which is there for sets without end."""
    return math.inf if isinstance(pictures, StreamedPictures) else pictures.num_pictures


def _amount(pictures: ImageDataset) -> str:
    if isinstance(pictures, StreamedPictures):
        return f"{len(pictures.shards):,} shards, streamed, the first {pictures.num_pictures:,} pictures in memory,"
    return counted(pictures.num_pictures, "picture")
