"""Run folders as training would have left them, with or without an illness."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from capriccio.config import AugmentConfig, ImageShape, RunConfig, to_dict
from capriccio.data.landscapes.painter import paint
from capriccio.presets import preset
from capriccio.rendering.grids import image_grid

SHAPE = ImageShape(channels=3, height=32, width=32)
PICTURES = 20_000
NUM_TICKS = 40
GIB = 2**30

HEALTHY = {
    "Loss/G/loss": 1.4,
    "Loss/D/loss": 1.0,
    "Loss/scores/real": 0.8,
    "Loss/scores/fake": -0.8,
    "Loss/signs/real": 0.5,
    "Loss/pl_penalty": 0.02,
    "Loss/r1_penalty": 0.6,
    "Numerics/skipped_steps": 0.0,
    "Numerics/sanitized_gradients": 0.0,
    "Timing/sec_per_tick": 50.0,
    "Timing/sec_per_kimg": 12.5,
    "Timing/images_per_sec": 80.0,
}
"""Means of a tick in which nothing is wrong."""


def settings() -> RunConfig:
    """Return the settings of a run to 1,000 kimg."""
    # A run folder holds what was decided at the start: the mode `auto` never stands there.
    config = replace(preset("laptop", SHAPE), augment=AugmentConfig())
    return replace(config, total_kimg=1000.0, data=replace(config.data, path="photos.zip"))


def tick_values(number: int, pictures: int = PICTURES, **means: float | None) -> dict[str, Any]:
    """Return the statistics of a tick of 4 kimg; a mean of None is one that was not finite."""
    nimg = 4000 * (number + 1)
    told = HEALTHY | {"Progress/tick": number, "Progress/epochs": nimg / pictures} | means
    counts = {"Timing/data": 250}
    entries: dict[str, Any] = {n: {"num": counts.get(n, 1), "mean": m, "std": 0.0} for n, m in told.items()}
    return entries | {"nimg": nimg, "timestamp": 0.0}


def write_run(
    folder: Path,
    config: RunConfig | None = None,
    *,
    ticks: int = NUM_TICKS,
    pictures: int = PICTURES,
    sick_from: int = 0,
    command: Sequence[str] = (),
    **sick: float | None,
) -> Path:
    """Write a run folder of ``ticks`` ticks, healthy but for the means in ``sick`` from tick ``sick_from`` on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(to_dict(config or settings()), sort_keys=False))
    lines = [tick_values(i, pictures, **(sick if i >= sick_from else {})) for i in range(ticks)]
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    session = {"command": ["capriccio", "train", *command], "precision": "bf16"}
    (folder / "environment.json").write_text(json.dumps({"sessions": [session]}))
    return folder


def photographs(count: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return painted landscapes, uint8 [N, H, W, C]."""
    return paint(range(count), (SHAPE.height, SHAPE.width), seed=seed).transpose(0, 2, 3, 1)


def write_sheet(path: Path, pictures: np.ndarray[Any, np.dtype[np.uint8]], columns: int = 12) -> None:
    """Write pictures as training writes its sheets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image_grid([Image.fromarray(np.ascontiguousarray(p)) for p in pictures], columns).save(path)
