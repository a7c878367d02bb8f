from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from capriccio.data import Recipe, build_dataset, grow_dataset, open_dataset
from capriccio.data.archive import open_files, read_index
from capriccio.data.building import build
from capriccio.data.building.lock import writing_alone
from capriccio.errors import DatasetError

from ..conftest import encoded, picture


@pytest.fixture
def archive(make_folder, tmp_path):
    files = {f"{i}.png": encoded(picture(i, 24, 32)) for i in range(4)}
    dest = tmp_path / "set.zip"
    build_dataset(make_folder(files, "old"), dest, size=(16, 16), workers=0, licence="CC0-1.0",
                  recipe=Recipe(crop="smart", image_format="png"))  # fmt: skip
    return dest


def members(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def grow(source, dest, **options):
    return grow_dataset(source, dest, workers=0, **options)


def test_old_pictures_keep_name_place_and_bytes_and_new_ones_follow(archive, make_folder):
    before = members(archive)
    new = make_folder({"a.png": encoded(picture(9, 24, 32)), "same.png": encoded(picture(2, 24, 32))}, "new")
    report = grow(new, archive)
    after = members(archive)
    assert (report.count, report.added, report.counts) == (5, 1, {"kept": 1, "duplicate": 1})
    assert [name for name in after if name != "dataset.json"] == [
        *(name for name in before if name != "dataset.json"), "00000/img00000004.png"
    ]  # fmt: skip
    assert all(after[name] == data for name, data in before.items() if name != "dataset.json")
    index = json.loads(after["dataset.json"])
    assert index["recipe"] == json.loads(before["dataset.json"])["recipe"]
    assert index["recipe"]["crop"] == "smart"
    assert [line["source"] for line in index["pictures"]] == ["0.png", "1.png", "2.png", "3.png", "a.png"]
    assert next(e for e in report.entries if e.file == "same.png").duplicate_of == "2.png"


def test_growing_is_building_at_once(archive, make_folder, tmp_path):
    grow(make_folder({"4.png": encoded(picture(4, 24, 32))}, "new"), archive)
    shutil.copy(tmp_path / "new" / "4.png", tmp_path / "old")
    build_dataset(tmp_path / "old", tmp_path / "at_once.zip", size=(16, 16), workers=0, licence="CC0-1.0",
                  recipe=Recipe(crop="smart", image_format="png"))  # fmt: skip
    assert (tmp_path / "at_once.zip").read_bytes() == archive.read_bytes()


def test_nothing_new_leaves_the_archive_untouched(archive, tmp_path):
    before = archive.stat()
    report = grow(tmp_path / "old", archive)
    assert (report.count, report.added) == (4, 0)
    assert archive.stat().st_mtime_ns == before.st_mtime_ns
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"?")
    with pytest.raises(DatasetError, match="no usable picture"):
        grow(tmp_path / "bad", archive)


def test_a_mirrored_copy_of_an_old_picture_is_noticed(archive, make_folder):
    mirrored = encoded(ImageOps.mirror(picture(1, 24, 32)))
    report = grow(make_folder({"m.png": mirrored}, "new"), archive)
    assert report.entries[0].reason == "looks like '1.png'"


def test_a_failure_half_way_leaves_the_old_archive_whole(archive, make_folder, monkeypatch):
    before = archive.read_bytes()
    new = make_folder({f"n{i}.png": encoded(picture(50 + i, 24, 32)) for i in range(3)}, "new")
    seen = []

    def stopping(done, total):
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow(new, archive, progress=stopping)
    assert archive.read_bytes() == before
    assert sorted(path.name for path in archive.parent.iterdir()) == ["new", "old", "set.zip"]
    assert grow(new, archive).added == 3


def test_damage_of_the_old_archive_is_not_carried_on(archive, make_folder):
    data = bytearray(archive.read_bytes())
    data[200] ^= 0xFF
    archive.write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"img00000000\.png' cannot be read"):
        grow(make_folder({"a.png": encoded(picture(9, 24, 32))}, "new"), archive)


def test_an_archive_of_somebody_else_does_not_grow(make_zip, make_folder):
    with pytest.raises(DatasetError, match="does not say how it was made"):
        grow(make_folder({"a.png": encoded(picture(9))}), make_zip())


def test_two_writers_do_not_meet(archive, make_folder):
    new = make_folder({"a.png": encoded(picture(9, 24, 32))}, "new")
    holder = (
        "import sys; from pathlib import Path; from capriccio.data.building.lock import writing_alone\n"
        "with writing_alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(archive)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(DatasetError, match=r"another process is writing '.*set\.zip'"):
            grow(new, archive)
        with pytest.raises(DatasetError, match="another process is writing"):
            build_dataset(new, archive, size=(16, 16), force=True, workers=0)
        other.kill()
    assert grow(new, archive).added == 1  # the claim ended with the process


def test_what_a_killed_writer_left_is_cleared_away(archive):
    leftover = archive.with_name(f".{archive.name}.0123456789abcdef.part")
    leftover.write_bytes(b"half")
    with writing_alone(archive):
        assert not leftover.exists()
    assert not archive.with_name(f".{archive.name}.lock").exists()


# ---- labels


@pytest.fixture
def labelled(make_folder, tmp_path):
    kinds = [(10 * k + i, f"{kind}/{i}.png") for k, kind in enumerate(["sea", "forest"]) for i in (0, 1)]
    files = {name: encoded(picture(seed)) for seed, name in kinds}
    dest = tmp_path / "labelled.zip"
    report = build_dataset(make_folder(files | {"stray.png": encoded(picture(99))}), dest, size=(16, 16),
                           labels="folders", workers=0)  # fmt: skip
    return report


def test_sub_folders_become_classes_and_strays_are_left_out(labelled):
    index = read_index(open_files(labelled.dest))
    assert index["class_names"] == ["forest", "sea"]
    assert [label for _, label in index["labels"]] == [0, 0, 1, 1]
    stray = next(entry for entry in labelled.entries if entry.file == "stray.png")
    assert (stray.status, stray.reason) == ("dropped", "lies in no sub-folder, so it has no label")
    assert open_dataset(labelled.dest, labels=True, holdout=0).train.c_dim == 2


def test_a_new_class_comes_after_those_that_exist(labelled, make_folder):
    grow(make_folder({"beach/x.png": encoded(picture(77)), "sea/y.png": encoded(picture(78))}, "new"), labelled.dest)
    index = read_index(open_files(labelled.dest))
    assert index["class_names"] == ["forest", "sea", "beach"]
    assert [label for _, label in index["labels"]] == [0, 0, 1, 1, 2, 1]


def test_labels_and_their_absence_do_not_mix(labelled, archive, make_folder):
    new = make_folder({"sea/y.png": encoded(picture(78, 24, 32))}, "new")
    with pytest.raises(DatasetError, match="--labels none contradicts"):
        grow(new, labelled.dest, labels="none")
    with pytest.raises(DatasetError, match="has no labels, so new pictures can have none"):
        grow(new, archive, labels="folders")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("l.csv", "file,class\n0.png,sky\n1.png,sea\n", [1, 0]),
        ("l.csv", "name,label\n1.png,7\n0.png,3\n", [3, 7]),
        ("l.csv", "path,x,y\n0.png,0.5,1\n1.png,-2,3e1\n", [[0.5, 1.0], [-2.0, 30.0]]),
        ("l.json", '{"labels": [["0.png", 4], ["1.png", 5]]}', [4, 5]),
        ("l.json", '{"0.png": [1, 2.5], "1.png": [3, 4]}', [[1, 2.5], [3, 4]]),
    ],
)
def test_labels_come_from_a_file(make_folder, tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    folder = make_folder({f"{i}.png": encoded(picture(i)) for i in range(3)})
    report = build_dataset(folder, tmp_path / "s.zip", size=(16, 16), labels=tmp_path / name, workers=0)
    assert [label for _, label in read_index(open_files(report.dest))["labels"]] == expected
    assert {e.file: e.reason for e in report.entries}["2.png"] == f"has no label in '{name}'"
    with pytest.raises(DatasetError, match="has labels from a file; give those of the new pictures"):
        grow(folder, report.dest)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,label\n0.png,1\ngone.png,2\n", "names 'gone.png', which is not in the source"),
        ("l.csv", "a,b\n0.png,1\n", "the first line must name the columns"),
        ("l.csv", "file,x,y\n0.png,1\n", "line 2 has fewer columns"),
        ("l.csv", "file,x\n0.png,one\n", "line 2: could not convert"),
        ("l.csv", "file,label\n", "there is no label in it"),
        ("l.json", "[1]", r"each entry must be \[name, label\]"),
        ("l.json", "{", "labels '.*l.json'"),
        ("l.json", '{"0.png": 1, "1.png": [2]}', "must be class numbers, class names, or lists"),
        ("l.xml", "", "--labels must be auto, folders, none, or a CSV or JSON file"),
    ],
)
def test_labels_that_cannot_be_used_are_explained(make_folder, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    folder = make_folder({f"{i}.png": encoded(picture(i)) for i in range(3)})
    with pytest.raises(DatasetError, match=message):
        build_dataset(folder, tmp_path / "s.zip", size=(16, 16), labels=tmp_path / name, workers=0)
    assert not (tmp_path / "s.zip").exists()


def test_labels_of_some_pictures_only_are_not_stored_and_that_is_said(make_zip, make_folder, tmp_path):
    with_labels = make_zip(index={"labels": [[f"img{i}.png", i] for i in range(5)]})
    without = make_folder({"x.png": encoded(picture(40))})
    report = build_dataset([with_labels, without], tmp_path / "s.zip", size=(16, 16), workers=0)
    assert report.notes == ("1 of 6 pictures have no label, so no labels were stored.",)
    assert read_index(open_files(report.dest))["labels"] is None


# ---- policies


def test_flawed_pictures_are_dropped_or_reported_as_asked(make_folder, tmp_path):
    good, flat = picture(0, 200, 200), Image.new("RGB", (200, 200), "grey")
    boxed = Image.new("RGB", (200, 280))
    boxed.paste(picture(1, 200, 200), (0, 40))
    files = {"boxed.png": boxed, "flat.png": flat, "good.png": good, "twin.png": ImageOps.mirror(good)}
    folder = make_folder({name: encoded(image) for name, image in files.items()})

    def statuses(**policies):
        recipe = Recipe(**policies)
        report = build_dataset(folder, tmp_path / "s.zip", size=(16, 16), recipe=recipe, workers=0, force=True)
        return {entry.file: (entry.status, entry.flaws) for entry in report.entries}

    kept = {"boxed.png": ("borders",), "flat.png": ("flat",), "good.png": (), "twin.png": ("duplicate",)}
    assert statuses() == {name: ("kept", flaws) for name, flaws in kept.items()}
    dropped = statuses(duplicates="drop", flat="drop", borders="drop", text="drop")
    assert dropped == {"boxed.png": ("dropped", ("borders",)), "flat.png": ("dropped", ("flat",)),
                       "good.png": ("kept", ()), "twin.png": ("duplicate", ("duplicate",))}  # fmt: skip
    ignored = statuses(duplicates="ignore", flat="ignore", borders="ignore", text="ignore")
    assert set(ignored.values()) == {("kept", ())}


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("crop", ["centre", "random", "pad", "smart"])
def test_every_policy_gives_every_number_of_channels(make_folder, tmp_path, channels, mode, crop):
    folder = make_folder({"a.png": encoded(picture(0, 40, 70)), "b.jpg": encoded(picture(1, 90, 50), "JPEG")})
    recipe = Recipe(channels=channels, crop=crop, crops=3 if crop == "random" else 1, linear=crop == "pad")
    report = build_dataset(folder, tmp_path / "s.zip", size=(24, 16), recipe=recipe, workers=0)
    images = open_dataset(report.dest, holdout=0).train.all_images()
    assert images.shape == (6 if crop == "random" else 2, channels, 24, 16)
    if crop == "pad" and channels == 4:
        assert (images[0, 3, 0].max(), images[0, 3, 12].min()) == (0, 255)  # bars are transparent


def test_pad_shows_the_whole_picture_between_bars_of_the_background(make_folder, tmp_path):
    folder = make_folder({"a.png": encoded(Image.new("RGB", (64, 32), (200, 10, 10)))})
    recipe = Recipe(crop="pad", background=(0, 0, 255))
    build_dataset(folder, tmp_path / "s.zip", size=(32, 32), recipe=recipe, workers=0)
    (image,) = open_dataset(tmp_path / "s.zip", holdout=0).train.all_images()
    assert image[:, 0, 5].tolist() == image[:, 31, 5].tolist() == [0, 0, 255]
    np.testing.assert_array_equal(image[:, 8:24].reshape(3, -1).T, [[200, 10, 10]] * (16 * 32))


def test_long_photographs_and_enlarging_have_limits(make_folder, tmp_path):
    folder = make_folder({"long.png": encoded(picture(0, 20, 100)), "small.png": encoded(picture(1, 14, 14))})
    report = build_dataset(folder, tmp_path / "s.zip", size=(16, 16), workers=0,
                           recipe=Recipe(max_aspect=3, max_enlarge=1.5))  # fmt: skip
    assert {e.file: e.status for e in report.entries} == {"long.png": "dropped", "small.png": "kept"}
    assert report.entries[0].reason == "has an aspect of 5.00, more than 3"


def test_an_archive_is_not_overwritten_unasked(archive, tmp_path):
    with pytest.raises(DatasetError, match="--force replaces it, `capriccio dataset add` lets it grow"):
        build_dataset(tmp_path / "old", archive, size=(16, 16))
    assert build_dataset(tmp_path / "old", archive, size=(24, 24), force=True, workers=0).height == 24


def test_examples_on_the_page_are_few_of_each_kind(make_folder, tmp_path):
    folder = make_folder({f"{i:02d}.png": encoded(Image.new("RGB", (16, 16), (i, i, i))) for i in range(40)})
    report = build_dataset(folder, tmp_path / "s.zip", size=(16, 16), workers=0)
    assert len(report.examples) == build._EXAMPLES_PER_KIND
