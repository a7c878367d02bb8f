from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageOps

from capriccio.data import open_dataset
from capriccio.data.fingerprints import near_duplicate_groups, thumbnail
from capriccio.data.holdout import choose_heldout, choose_heldout_of_grown, num_heldout
from capriccio.errors import DatasetError

from .conftest import encoded, picture


def chw(image):
    return np.asarray(image).transpose(2, 0, 1)


def random_set(count):
    """Content hashes and thumbnails of pictures that have nothing to do with each other; more begin with the same."""
    digests = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    return digests, np.random.default_rng(1).integers(0, 256, (count, 8, 9), dtype=np.uint8)


def test_five_percent_and_at_most_a_thousand_by_default():
    assert [num_heldout(count, None) for count in (1, 19, 20, 4795, 70_000)] == [0, 0, 1, 239, 1000]
    assert num_heldout(10, 0) == 0


@pytest.mark.parametrize("asked", [-1, 10])
def test_a_holdout_that_leaves_nothing_is_refused(asked):
    with pytest.raises(DatasetError, match=r"--holdout .* of 10 pictures.*0\.\.9"):
        num_heldout(10, asked)


def test_the_sides_are_disjoint_and_complete(make_zip):
    files = {f"{i:02d}.png": encoded(picture(i)) for i in range(40)}
    split = open_dataset(make_zip(files), holdout=7)
    assert len(split.heldout) == 7
    assert split.train.card.heldout == split.heldout.names
    assert sorted(split.train.names + split.heldout.names) == sorted(files)


def test_the_choice_follows_content_not_names_order_or_encoding(make_zip):
    def held(files):
        heldout = open_dataset(make_zip(files), holdout=6).heldout
        return sorted(image.tobytes() for image in heldout.all_images())

    forward = {f"{i:02d}.png": encoded(picture(i)) for i in range(40)}
    backward = {f"x{40 - i:02d}.webp": encoded(picture(i), "WEBP", lossless=True) for i in range(40)}
    assert held(forward) == held(backward)


def test_training_at_a_smaller_size_holds_out_the_same_pictures(make_zip):
    path = make_zip({f"{i:02d}.png": encoded(picture(i, 32, 32)) for i in range(40)})
    assert open_dataset(path, holdout=6).heldout.names == open_dataset(path, holdout=6, size=(8, 8)).heldout.names


def test_heldout_pictures_are_never_mirrored_nor_part_of_a_subset(make_zip):
    split = open_dataset(make_zip({f"{i:02d}.png": encoded(picture(i)) for i in range(40)}), mirror=True, subset=10)
    assert (len(split.train), len(split.heldout)) == (20, 2)
    assert not set(split.train.names) & set(split.heldout.names)


def test_copies_mirrored_and_recompressed_stand_in_one_group():
    originals = [picture(seed, 64, 64) for seed in range(30)]
    slightly = [image.point(lambda value: min(value + 2, 255)) for image in originals[:10]]
    mirrored = [ImageOps.mirror(image) for image in originals[10:20]]
    smaller = [image.resize((48, 48)) for image in originals[20:25]]
    thumbnails = np.stack([thumbnail(chw(image)) for image in originals + slightly + mirrored + smaller])
    groups = {tuple(sorted(group)) for group in near_duplicate_groups(thumbnails)}
    assert groups == {(i, 30 + i) for i in range(25)} | {(i,) for i in range(25, 30)}


def test_flat_pictures_of_different_brightness_are_no_duplicates():
    thumbnails = np.stack([np.full((8, 9), 40 * level, np.uint8) for level in range(6)])
    assert len(near_duplicate_groups(thumbnails)) == 6


@pytest.mark.parametrize("count", range(0, 12, 2))
def test_near_duplicates_stay_on_one_side(count):
    rng = np.random.default_rng(0)
    images = [chw(picture(seed)) for seed in range(10)]
    twins = [np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8) for image in images]
    thumbnails = np.stack([thumbnail(image) for image in images + twins])
    chosen = choose_heldout(rng.integers(0, 256, (20, 32), dtype=np.uint8), thumbnails, count)
    assert len(chosen) == count
    assert {row % 10 for row in chosen if row < 10} == {row % 10 for row in chosen if row >= 10}


def test_a_group_that_does_not_fit_is_passed_over():
    thumbnails = np.zeros((5, 8, 9), np.uint8)
    thumbnails[4] = 200
    digests = np.arange(5, dtype=np.uint8)[:, None].repeat(32, axis=1)
    assert choose_heldout(digests, thumbnails, 2).tolist() == [4]


def test_a_grown_set_keeps_its_held_out_pictures():
    digests, thumbnails = random_set(400)
    before = choose_heldout_of_grown(digests[:300], thumbnails[:300], None, [])
    after = choose_heldout_of_grown(digests, thumbnails, None, [300])
    np.testing.assert_array_equal(after[after < 300], before)
    assert (len(before), len(after)) == (15, 20)
    np.testing.assert_array_equal(choose_heldout_of_grown(digests, thumbnails, 7, [300]) < 300, [True] * 7)


def test_new_pictures_follow_the_old_ones_that_they_resemble():
    digests, thumbnails = random_set(300)
    before = choose_heldout_of_grown(digests, thumbnails, None, [])
    trained = np.setdiff1d(np.arange(300), before)
    alike = np.concatenate([thumbnails, thumbnails[before[:3]], thumbnails[trained[:3], :, ::-1]])
    after = choose_heldout_of_grown(random_set(306)[0], alike, 15, [300])
    assert set(after[after >= 300].tolist()) == {300, 301, 302}
