"""The main job on real photographs. They are not part of the repository: CAPRICCIO_DATA names their folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import capriccio
from capriccio.config import DataConfig, ImageShape
from capriccio.data.dataset import open_dataset
from capriccio.presets import preset

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture
def photographs() -> Path:
    folder = os.environ.get("CAPRICCIO_DATA")
    if not folder:
        pytest.skip("needs photographs; set CAPRICCIO_DATA to their folder")
    return Path(folder)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(tmp_path / "cache"))


def short_run(data: DataConfig, shape: ImageShape):
    return replace(preset("tiny", shape), data=data, total_kimg=0.064)


def test_a_network_learns_from_landscapes_and_paints(photographs, tmp_path):
    config = short_run(DataConfig(path=str(photographs / "landscapes-128.zip"), mirror=True), ImageShape())
    lines = []
    snapshot = capriccio.train(config, tmp_path / "run", device="cpu", echo=lines.append)
    model = capriccio.load(snapshot, device="cpu")
    assert model.card["data"]["count"] == 4556
    assert len(model.card["data"]["heldout"]) == 239
    assert model.images(model.ws(seeds=[0])).shape == (1, 3, 64, 64)
    ticks = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert ticks[-1]["nimg"] == 64
    assert ticks[-1]["Numerics/skipped_steps"]["mean"] == 0
    assert (tmp_path / "run" / "samples" / "reals.png").exists()


def test_labels_of_a_data_set_make_a_conditional_network(photographs, tmp_path):
    config = short_run(
        DataConfig(path=str(photographs / "cifar10-labelled-32.zip"), labels=True), ImageShape(height=32, width=32)
    )
    model = capriccio.load(capriccio.train(config, tmp_path / "run", device="cpu", echo=lambda _: None), device="cpu")
    assert model.c_dim == 10
    images = [model.images(model.ws(seeds=[0], c=model.label(k))) for k in (0, 7)]
    assert (images[0] - images[1]).abs().max() > 0


def test_a_messy_folder_becomes_equal_pictures_and_a_list_of_what_was_left_out(photographs):
    split = open_dataset(photographs / "raw-sample", size=(32, 48), holdout=0)
    assert split.train.shape == ImageShape(height=32, width=48)
    assert split.train.num_pictures >= 50
    assert split.skipped
    assert all(skipped.reason for skipped in split.skipped)
