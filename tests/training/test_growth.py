"""A run goes on after its archive grew: the new pictures enter from there on, and nothing else changes."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capriccio.data import Recipe, build_dataset, grow_dataset, open_dataset
from capriccio.errors import RunError
from capriccio.snapshots.snapshot import read_header
from capriccio.training.train import train

from .test_kill import finished, start
from .tiny import run_config

FINAL = Path("snapshots") / "snapshot-000000.safetensors"


def photographs(folder: Path, seeds: range) -> Path:
    folder.mkdir()
    for seed in seeds:
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{seed:03d}.png")
    return folder


@pytest.fixture
def archives(tmp_path) -> tuple[Path, Path]:
    """An archive of 40 pictures, and the same grown by 20."""
    small, grown = tmp_path / "set.zip", tmp_path / "grown" / "set.zip"
    build_dataset(photographs(tmp_path / "old", range(40)), small, size=(16, 16), recipe=Recipe(), workers=0)
    grown.parent.mkdir()
    shutil.copy(small, grown)
    grow_dataset(photographs(tmp_path / "new", range(100, 120)), grown, workers=0)
    return small, grown


def progress_of(run: Path) -> dict[str, object]:
    (newest,) = sorted((run / "checkpoints").iterdir())[-1:]
    return json.loads((newest / "progress.json").read_text())


@pytest.mark.parametrize("mirror", [False, True])
def test_a_run_goes_on_with_the_grown_archive_and_can_be_resumed_again(archives, tmp_path, mirror):
    small, grown = archives

    def config(data: Path, kimg: float):
        plain = run_config(data, total_kimg=kimg)
        return replace(plain, data=replace(plain.data, mirror=mirror, holdout=None))

    said: list[str] = []
    first = tmp_path / "run"
    train(config(small, 0.024), first, echo=said.append)
    hashes = [open_dataset(path).train.card.hash for path in archives]
    assert progress_of(first)["data_history"] == []

    again = shutil.copytree(first, tmp_path / "again")
    train(config(grown, 0.048), first, resume=True, echo=said.append)
    assert any("grew to 57 pictures" in line for line in said)
    assert progress_of(first)["data_hash"] == hashes[1]
    assert progress_of(first)["data_history"] == hashes[:1]

    # Stopped once more after the growth, it ends with the same bytes.
    train(config(grown, 0.036), again, resume=True, echo=said.append)
    train(config(grown, 0.048), again, resume=True, echo=said.append)
    assert (again / FINAL).read_bytes() == (first / FINAL).read_bytes()
    assert read_header(first / FINAL)["data"]["grown_from"] == hashes[:1]

    with pytest.raises(RunError, match="a run on other pictures"):
        train(config(small, 0.060), first, resume=True, echo=said.append)


def has_grown(run: Path) -> bool:
    """Whether a checkpoint was saved after the growth."""
    for path in (run / "checkpoints").glob("checkpoint-*/progress.json"):
        try:
            if json.loads(path.read_text())["data_history"]:
                return True
        except (OSError, ValueError):  # being replaced at this moment
            continue
    return False


@pytest.mark.slow
def test_a_run_killed_after_the_growth_ends_as_if_it_had_not_been(archives, tmp_path):
    small, grown = archives
    run = tmp_path / "run"
    finished(small, run, "--kimg", 0.024)
    whole = shutil.copytree(run, tmp_path / "whole")
    finished(grown, whole, "--kimg", 0.048)

    process = start(grown, run, "--kimg", 0.048, "--slow")
    while not has_grown(run):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (run / FINAL).exists() or (run / FINAL).read_bytes() != (whole / FINAL).read_bytes()
    finished(grown, run, "--kimg", 0.048)
    assert (run / FINAL).read_bytes() == (whole / FINAL).read_bytes()
