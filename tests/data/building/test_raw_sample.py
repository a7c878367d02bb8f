"""A folder as people have them: every file of it becomes what was written down about it when it was put together.

The photographs are not part of the repository: CAPRICCIO_DATA names their folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from capriccio.data import Recipe, build_dataset, open_dataset

pytestmark = pytest.mark.data

FACTS = json.loads(Path(__file__).with_name("raw_sample_facts.json").read_text(encoding="utf-8"))
STATUS = {
    "image": "kept",
    "image, duplicate": "duplicate",
    "image, hidden": "dropped",
    "image, too small": "too-small",
    "corrupt": "unreadable",
    "not an image": "not-an-image",
}


@pytest.fixture(scope="module")
def folder() -> Path:
    place = os.environ.get("CAPRICCIO_DATA")
    if not place or not (Path(place) / "raw-sample").is_dir():
        pytest.skip("needs photographs; set CAPRICCIO_DATA to a folder with raw-sample")
    return Path(place) / "raw-sample"


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    dest = tmp_path_factory.mktemp("raw") / "raw.zip"
    return build_dataset(folder, dest, size=(64, 64), recipe=Recipe(duplicates="report"))


def test_every_file_is_told_and_becomes_what_was_expected(built):
    got = {entry.file: entry.status for entry in built.entries}
    assert got == {fact["file"]: STATUS[fact["expect"]] for fact in FACTS}
    assert len(built.entries) == len(FACTS)
    assert all(entry.reason for entry in built.entries if entry.status != "kept")


def test_original_sizes_are_those_of_the_upright_photographs(built):
    sizes = {entry.file: entry.size for entry in built.entries}
    for fact in FACTS:
        if fact["expect"] == "image":
            turned = fact.get("exif_orientation", 1) in (6, 8)
            assert sizes[fact["file"]] == tuple(fact["size"][:: -1 if turned else 1]), fact["file"]


def test_the_same_photograph_turned_by_its_tag_is_upright_and_noticed(built):
    split = open_dataset(built.dest, holdout=0, cache="none")
    pictures = dict(zip([e.file for e in built.entries if e.status == "kept"], split.train.all_images(), strict=True))
    upright = pictures["exif_upright.jpg"].astype(int)
    for name in ("exif_orient3.jpg", "exif_orient6.jpg", "exif_orient8.jpg"):
        assert np.abs(pictures[name] - upright).mean() < 3, name
    noticed = {entry.file for entry in built.entries if "duplicate" in entry.flaws}
    assert len(noticed & {"exif_orient3.jpg", "exif_orient6.jpg", "exif_orient8.jpg", "exif_upright.jpg"}) == 3


def test_sixteen_bits_are_scaled_and_ink_becomes_light(built):
    split = open_dataset(built.dest, holdout=0, cache="none")
    pictures = dict(zip([e.file for e in built.entries if e.status == "kept"], split.train.all_images(), strict=True))
    assert 20 < pictures["grey_16bit.png"].mean() < 235
    assert pictures["grey_16bit.png"].std() > 20
    assert 20 < pictures["cmyk.jpg"].mean() < 235
