from __future__ import annotations

import time

import numpy as np
import pytest

from capriccio.data import open_dataset
from capriccio.data.fingerprints import near_duplicate_groups, thumbnail
from capriccio.data.landscapes import paint, synthesize
from capriccio.errors import ConfigError, DatasetError


def test_a_picture_does_not_depend_on_its_batch():
    together = paint(range(6), (32, 48), seed=3)
    alone = np.concatenate([paint([number], (32, 48), seed=3) for number in range(6)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(paint([5, 1], (32, 48), seed=3), together[[5, 1]])


def test_more_pictures_than_are_painted_together_come_in_order():
    images = paint(range(20), (96, 96))
    np.testing.assert_array_equal(images[[0, 11, 19]], paint([0, 11, 19], (96, 96)))
    assert paint([], (8, 16)).shape == (0, 3, 8, 16)


@pytest.mark.parametrize("size", [(4, 4), (16, 64), (64, 16), (33, 47)])
def test_any_size_can_be_painted(size):
    images = paint(range(3), size)
    assert images.shape == (3, 3, *size)
    assert images.dtype == np.uint8


def test_the_same_scene_is_painted_at_any_size():
    small, large = paint(range(8), (32, 32)), paint(range(8), (128, 128))
    averaged = large.reshape(8, 3, 32, 4, 32, 4).mean(axis=(3, 5))
    assert np.abs(averaged - small).mean() < 8


def test_another_seed_paints_other_pictures():
    assert np.abs(paint(range(4), (32, 32), seed=0).astype(int) - paint(range(4), (32, 32), seed=1)).mean() > 20


def test_no_two_of_many_look_alike():
    images = paint(range(200), (32, 32))
    assert len(near_duplicate_groups(np.stack([thumbnail(image) for image in images]))) >= 198


def test_pictures_are_varied_and_neither_flat_nor_burnt_out():
    images = paint(range(100), (32, 32))
    colours = images.mean(axis=(2, 3))
    assert (colours.std(axis=0) > 25).all()
    assert (images.std(axis=(1, 2, 3)) > 8).all()
    assert (np.isin(images, (0, 255)).mean(axis=(1, 2, 3)) < 0.25).all()


def test_most_skies_are_brighter_than_the_ground():
    images = paint(range(100), (32, 32)).mean(axis=1)
    assert (images[:, :8].mean(axis=(1, 2)) > images[:, -8:].mean(axis=(1, 2))).mean() > 0.6


def test_a_data_set_is_painted_in_seconds():
    paint(range(16), (64, 64))
    started = time.process_time()
    paint(range(64), (64, 64))
    assert 64 / (time.process_time() - started) > 60  # about 300 on a processor that has nothing else to do


def test_a_painted_archive_can_be_trained_on(tmp_path):
    seen = []
    report = synthesize(
        tmp_path / "painted.zip", 40, size=(16, 24), seed=2, progress=lambda done, total: seen.append((done, total))
    )
    assert (report.count, seen) == (40, [(32, 40), (40, 40)])
    data = open_dataset(report.dest, holdout=0).train
    assert data.card.licence.startswith("CC0-1.0")
    np.testing.assert_array_equal(data.all_images(), paint(range(40), (16, 24), seed=2))


def test_painting_again_makes_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        synthesize(tmp_path / name, 3, size=(16, 16))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_what_cannot_be_painted_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="count must be at least 1, got 0"):
        synthesize(tmp_path / "a.zip", 0)
    with pytest.raises(DatasetError, match=r"must end in \.zip"):
        synthesize(tmp_path / "a", 1)
    with pytest.raises(ConfigError, match="nearest good size"):
        synthesize(tmp_path / "a.zip", 1, size=(150, 150))
    assert list(tmp_path.iterdir()) == []
