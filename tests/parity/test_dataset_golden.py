"""Archives written by the reference dataset tool are read in its order, with its labels, mirror, subset and stream."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from capriccio.data import EndlessOrder, open_dataset

FOLDER = Path(os.environ.get("CAPRICCIO_GOLDEN", Path(__file__).parents[1] / "golden"))
FIXTURES = sorted(FOLDER.glob("dataset_*.npz"))


def test_there_is_something_to_compare_with():
    assert FIXTURES, f"no dataset_*.npz in {FOLDER}; set CAPRICCIO_GOLDEN to the folder of the golden files"


@pytest.fixture(params=FIXTURES, ids=lambda path: path.stem)
def golden(request):
    with np.load(request.param, allow_pickle=False) as arrays:
        values = dict(arrays)
    values["config"] = json.loads(bytes(values["config"]))
    return values


@pytest.mark.parametrize("cache", ["none", "raw"])
def test_pictures_and_labels_come_in_the_same_order(golden, cache, tmp_path):
    labels = golden["labels"]
    data = open_dataset(
        FOLDER / golden["config"]["zip"], labels=labels.shape[1] > 0, holdout=0, cache=cache, cache_dir=tmp_path
    ).train
    everything = range(len(data))
    assert list(data.names) == golden["config"]["names"]
    np.testing.assert_array_equal(data.images(everything), golden["images"])
    np.testing.assert_array_equal(data.labels(everything), labels)
    assert data.labels(everything).dtype == np.float32


def test_the_unpacked_archive_reads_the_same(golden, tmp_path):
    with zipfile.ZipFile(FOLDER / golden["config"]["zip"]) as archive:
        archive.extractall(tmp_path / "folder")
    labels = golden["labels"]
    data = open_dataset(tmp_path / "folder", labels=labels.shape[1] > 0, holdout=0, cache_dir=tmp_path / "cache").train
    np.testing.assert_array_equal(data.all_images(), golden["images"])
    np.testing.assert_array_equal(data.labels(range(len(data))), labels)


def test_a_mirrored_subset_is_the_same(golden, tmp_path):
    data = open_dataset(
        FOLDER / golden["config"]["zip"], subset=5, mirror=True, seed=3, holdout=0, cache_dir=tmp_path
    ).train
    raw = golden["subset5_seed3_xflip.raw_index"]
    assert data.names == tuple(golden["config"]["names"][i] for i in raw[: len(raw) // 2])
    np.testing.assert_array_equal(data.images(range(len(data))), golden["subset5_seed3_xflip.images"])


def test_the_endless_order_is_the_same(golden):
    streams = {key: values for key, values in golden.items() if key.startswith("order.")}
    assert streams
    for key, expected in streams.items():
        seed, world, rank = (int(number) for number in re.findall(r"\d+", key))
        order = EndlessOrder(golden["config"]["n"], seed)
        got = np.concatenate([order.next(4), order.next(0), order.next(world * len(expected) - 4)])
        np.testing.assert_array_equal(got[rank::world], expected, err_msg=key)
