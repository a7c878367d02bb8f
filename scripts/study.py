"""The study: one matrix of small, equal-budget runs that everything else reads instead of training its own.

    python scripts/study.py PHOTOS --out runs/study                 # 32×32 on a processor
    python scripts/study.py PHOTOS --out runs/study --size 64 --kimg 200 --device cuda

Each row changes one thing of the baseline. The baseline has three seeds, and their spread is the noise band: a
difference inside it means nothing. A row that is finished is not run again; one that was interrupted is resumed.
Writes ``study.json``, ``study.md`` (the table) and ``study.png`` (one strip of samples per row) into the folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import capriccio
from capriccio.config import DataConfig, ImageShape, PipeName, RunConfig, SavingConfig
from capriccio.data.dataset import peek_shape
from capriccio.doctor.record import Span, read_run
from capriccio.presets import auto_gamma, preset
from capriccio.rendering.grids import image_grid, to_picture, to_uint8
from capriccio.training.train import train

SAMPLES_PER_ROW = 16
LAST_TICKS = 3
"""Statistics of a row are means over this many last ticks."""


@dataclass(frozen=True)
class Row:
    """One line of the matrix."""

    about: str
    change: Callable[[RunConfig], RunConfig]
    seed: int = 0


def _loss(**changes: Any) -> Callable[[RunConfig], RunConfig]:
    return lambda run: replace(run, loss=replace(run.loss, **changes))


def _no_demodulation(run: RunConfig) -> RunConfig:
    return replace(run, generator=replace(run.generator, demodulate=False))


def _plain_architectures(run: RunConfig) -> RunConfig:
    return replace(
        run,
        generator=replace(run.generator, architecture="orig"),
        discriminator=replace(run.discriminator, architecture="orig"),
    )


def _adaptive(pipe: PipeName) -> Callable[[RunConfig], RunConfig]:
    # p can rise as far within these short runs as within the first 500 kimg of a long one.
    return lambda run: replace(run, augment=replace(run.augment, mode="ada", pipe=pipe, kimg=run.total_kimg))


def _float32(run: RunConfig) -> RunConfig:
    return replace(run, precision="fp32")


def _unchanged(run: RunConfig) -> RunConfig:
    return run


ROWS = {
    "full": Row("everything as in the paper", _unchanged),
    "full-seed1": Row("the same, second seed", _unchanged, seed=1),
    "full-seed2": Row("the same, third seed", _unchanged, seed=2),
    "no-path-length": Row("no path length regularisation", _loss(pl_weight=0.0)),
    "no-path-length-seed1": Row("the same, second seed", _loss(pl_weight=0.0), seed=1),
    "no-demodulation": Row("styles without demodulation", _no_demodulation),
    "no-lazy": Row("regularisers in every iteration", _loss(pl_interval=None, r1_interval=None)),
    "orig-orig": Row("no skips, no residuals in either network", _plain_architectures),
    "fp32": Row("everything in float32, first seed", _float32),
    "fp32-seed1": Row("the same, second seed", _float32, seed=1),
    "fp32-seed2": Row("the same, third seed", _float32, seed=2),
    "ada-bgc": Row("adaptive augmentation, the paper's set", _adaptive("bgc")),
    "ada-landscapes": Row("adaptive augmentation, the set for landscapes", _adaptive("landscapes")),
}


def baseline(data: Path, size: int, kimg: float, subset: int | None) -> RunConfig:
    """Return the run that all rows start from: the `tiny` preset, wider, at ``size`` pixels."""
    shape = ImageShape(channels=peek_shape(data).channels, height=size, width=size)
    run = preset("tiny", shape)
    return replace(
        run,
        data=DataConfig(path=str(data), mirror=True, subset=subset),
        generator=replace(run.generator, channel_base=1024, channel_max=64, z_dim=128, w_dim=128),
        discriminator=replace(run.discriminator, channel_base=1024, channel_max=64),
        loss=replace(run.loss, r1_gamma=4 * auto_gamma(shape, 16)),
        saving=SavingConfig(kimg_per_tick=1.0, snapshot_kimg=1e9, snapshot_minutes=1e9, first_snapshot_minutes=1e9),
        batch=16,
        batch_per_round=16,
        total_kimg=kimg,
    )


def run_row(row: Row, start: RunConfig, folder: Path, device: str) -> dict[str, Any]:
    """Train one row, unless it is finished, and return its numbers."""
    config = replace(row.change(start), seed=row.seed)
    snapshot = folder / "snapshots" / f"snapshot-{round(config.total_kimg):06d}.safetensors"
    if not snapshot.exists():
        train(config, folder, resume=True, device=device)
    ticks = read_run(folder).ticks
    last = Span(ticks[-LAST_TICKS:]).mean

    return {
        "about": row.about,
        "seed": row.seed,
        "snapshot": str(snapshot.relative_to(folder.parent)),
        "kimg": ticks[-1].nimg / 1000,
        "images_per_second": statistics.median(Span(ticks[1:] or ticks).values("Timing/images_per_sec")),
        "generator_loss": last("Loss/G/loss"),
        "discriminator_loss": last("Loss/D/loss"),
        "r_t": last("Loss/signs/real"),
        "r_v": last("Progress/r_v"),
        "p": last("Progress/augment"),
        "r1_penalty": last("Loss/r1_penalty"),
        "path_length_mean": last("Progress/pl_mean"),
        "path_length_penalty": last("Loss/pl_penalty"),
    }


def strip(snapshot: Path) -> list[Image.Image]:
    """Return the pictures of seeds 0…15 of a row."""
    model = capriccio.load(snapshot)
    return [to_picture(p) for p in to_uint8(model.images(model.ws(seeds=range(SAMPLES_PER_ROW))))]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    columns = {
        "images/s": "images_per_second",
        "G loss": "generator_loss",
        "D loss": "discriminator_loss",
        "r_t": "r_t",
        "r_v": "r_v",
        "p": "p",
        "R1 penalty": "r1_penalty",
        "path length": "path_length_mean",
        "pl penalty": "path_length_penalty",
    }
    lines = [f"| row | what changes | {' | '.join(columns)} |", "|---|---|" + "---:|" * len(columns)]
    for name, result in results.items():
        cells = ["–" if result[key] is None else f"{result[key]:.3g}" for key in columns.values()]
        lines.append(f"| {name} | {result['about']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="PHOTOS", help="archive or folder of pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--rows", default=",".join(ROWS), help="names of rows, separated by commas")
    parser.add_argument("--size", type=int, default=32, help="side of the pictures in pixels")
    parser.add_argument("--kimg", type=float, default=20.0, help="budget of each row")
    parser.add_argument("--subset", type=int, default=None, help="train on this many of the pictures")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    names = arguments.rows.split(",")
    if unknown := [name for name in names if name not in ROWS]:
        parser.error(f"unknown rows: {', '.join(unknown)}; there are: {', '.join(ROWS)}")

    start = baseline(arguments.data, arguments.size, arguments.kimg, arguments.subset)
    results, pictures = {}, []
    for name in names:
        print(f"--- {name}: {ROWS[name].about}", flush=True)
        results[name] = run_row(ROWS[name], start, arguments.out / name, arguments.device)
        pictures += strip(arguments.out / results[name]["snapshot"])
        settings = {name: getattr(arguments, name) for name in ("size", "kimg", "subset")}
        settings["torch"] = torch.__version__
        (arguments.out / "study.json").write_text(json.dumps({"settings": settings, "rows": results}, indent=1))
        (arguments.out / "study.md").write_text(table(results))
        image_grid(pictures, SAMPLES_PER_ROW).save(arguments.out / "study.png")
    print(table(results))


if __name__ == "__main__":
    main()
