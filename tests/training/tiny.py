"""Runs of toy size: pictures, configurations and states that train in seconds."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from capriccio.config import (
    AugmentConfig,
    DataConfig,
    DiscriminatorConfig,
    EmaConfig,
    GeneratorConfig,
    ImageShape,
    LossConfig,
    MappingConfig,
    OptimizerConfig,
    RunConfig,
    SavingConfig,
)
from capriccio.processes import Processes
from capriccio.training.draws import SeededDraws
from capriccio.training.iteration import Batch, Phases, Trainer
from capriccio.training.state import TrainingState, new_state
from capriccio.training.statistics import Statistics

CPU = torch.device("cpu")
SHAPE = ImageShape(channels=3, height=16, width=16)
BATCH = 4
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def run_config(
    data: Path | str = "", shape: ImageShape = SHAPE, *, c_dim: int = 0, total_kimg: float = 0.048
) -> RunConfig:
    """Return a run of 12 iterations with both regularisers, in float32."""
    mapping = MappingConfig(num_layers=2)
    return RunConfig(
        preset="tiny",
        data=DataConfig(path=str(data), labels=c_dim > 0, holdout=0),
        generator=GeneratorConfig(
            z_dim=8, w_dim=8, c_dim=c_dim, shape=shape, channel_base=128, channel_max=8, mapping=mapping
        ),
        discriminator=DiscriminatorConfig(
            c_dim=c_dim, shape=shape, channel_base=128, channel_max=8, mbstd_group_size=2, mapping=mapping
        ),
        loss=LossConfig(r1_gamma=0.1, r1_interval=4, pl_interval=2),
        optimizer=OptimizerConfig(generator_lr=0.0025, discriminator_lr=0.0025),
        ema=EmaConfig(half_life_kimg=0.1),
        saving=SavingConfig(kimg_per_tick=0.02, snapshot_kimg=10),
        total_kimg=total_kimg,
        batch=BATCH,
        precision="fp32",
    )


ADA = AugmentConfig(mode="ada", target=0.0, kimg=0.1, interval=2)
"""Adaptive augmentation whose p moves by 0.08 in every second iteration of a run of toy size."""


def write_archive(
    path: Path,
    shape: ImageShape = SHAPE,
    *,
    count: int = 24,
    num_classes: int = 0,
    classes: Sequence[int] | None = None,
) -> Path:
    """Write an archive of random pictures, smooth enough to compress and different from each other."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as file:
        for i in range(count):
            pixels = rng.integers(0, 256, (shape.height, shape.width, shape.channels), dtype=np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(pixels.squeeze(), MODES[shape.channels]).save(encoded, "png")
            file.writestr(f"{i:03d}.png", encoded.getvalue())
        if classes is None and num_classes:
            classes = [i % num_classes for i in range(count)]
        if classes is not None:
            labels = [[f"{i:03d}.png", label] for i, label in enumerate(classes)]
            file.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


class Labels:
    """Labels of fakes without a data set."""

    def __init__(self, c_dim: int) -> None:
        self._c_dim = c_dim

    def random_labels(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Return one-hot labels; None when unconditional."""
        if not self._c_dim:
            return None
        classes = torch.randint(self._c_dim, (count,), generator=rng)
        return torch.nn.functional.one_hot(classes, self._c_dim).float()


def draws(config: RunConfig, state: TrainingState, **changes: int) -> SeededDraws:
    """Return the draws of the next iteration of ``state``."""
    labels = Labels(config.generator.c_dim)
    return replace(SeededDraws.of_run(config, state, labels, device=CPU), **changes)


def reals(config: RunConfig, nimg: int = 0) -> Batch:
    """Return random pictures."""
    rng = torch.Generator().manual_seed(1000 + nimg)
    shape = config.generator.shape
    images = torch.rand(config.batch, shape.channels, shape.height, shape.width, generator=rng) * 2 - 1
    return Batch(images, Labels(config.generator.c_dim).random_labels(config.batch, rng))


def trained_state(
    config: RunConfig,
    iterations: int,
    *,
    phases: Phases | None = None,
    round_size: int | None = None,
    statistics: Statistics | None = None,
    state: TrainingState | None = None,
) -> TrainingState:
    """Return a fresh state, or ``state``, after some iterations on random pictures."""
    state = state or new_state(config, CPU)
    trainer = Trainer(config, Processes(), phases or Phases(), statistics or Statistics(CPU))
    for _ in range(iterations):
        batch = reals(config, state.nimg)
        trainer.run(state, batch, draws(config, state), round_size=round_size or config.batch)
    return state


def tensors_of(state: TrainingState) -> dict[str, Tensor]:
    """Return everything a state remembers in tensors, by name, copied."""
    networks = {"G": state.generator, "D": state.discriminator, "G_ema": state.generator_ema}
    named = {f"{letter}.{name}": t.clone() for letter, n in networks.items() for name, t in n.state_dict().items()}
    for letter, optimizer in (("G", state.generator_optimizer), ("D", state.discriminator_optimizer)):
        for index, moments in optimizer.state_dict()["state"].items():
            named |= {f"Adam.{letter}.{index}.{name}": t.clone() for name, t in moments.items()}
    return named | {"pl_mean": state.pl_mean.clone()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Fail unless both hold the same tensors, bit for bit."""
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert not differing
