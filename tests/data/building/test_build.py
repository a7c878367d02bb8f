from __future__ import annotations

import hashlib
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from capriccio.data import Recipe, build_dataset, open_dataset
from capriccio.data.pictures import decode
from capriccio.errors import DatasetError, StorageError

from ..conftest import encoded, picture


def built(folder, tmp_path, size=(16, 16), **options):
    dest = tmp_path / "built.zip"
    report = build_dataset(folder, dest, size=size, **options)
    return report, open_dataset(dest, holdout=0)


def test_the_archive_is_uncompressed_and_lists_its_pictures(make_folder, tmp_path):
    folder = make_folder({"b.png": encoded(picture(0, 32, 40)), "sub/é a.png": encoded(picture(1, 48, 32))})
    report, split = built(folder, tmp_path, licence="CC0-1.0")
    assert (report.count, report.height, report.width, report.skipped) == (2, 16, 16, ())
    with zipfile.ZipFile(report.dest) as archive:
        assert archive.namelist() == ["00000/img00000000.webp", "00000/img00000001.webp", "dataset.json"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        index = json.loads(archive.read("dataset.json"))
    assert (index["labels"], index["licence"], index["count"], index["height"]) == (None, "CC0-1.0", 2, 16)
    assert [entry["source"] for entry in index["pictures"]] == ["b.png", "sub/é a.png"]
    assert split.train.card.licence == "CC0-1.0"


@pytest.mark.parametrize(("image_format", "lossless"), [("webp", True), ("png", True), ("jpeg", False)])
def test_stored_pictures_are_the_prepared_ones(make_folder, tmp_path, image_format, lossless):
    _, split = built(make_folder({"a.png": encoded(picture(0))}), tmp_path, recipe=Recipe(image_format=image_format))
    difference = np.abs(split.train.all_images()[0].astype(int) - np.asarray(picture(0)).transpose(2, 0, 1))
    assert difference.max() <= (0 if lossless else 12)


def test_equal_input_makes_equal_bytes(make_folder, tmp_path):
    folder = make_folder({f"{i}.png": encoded(picture(i, 20, 24)) for i in range(3)})
    for name in ("one.zip", "two.zip"):
        build_dataset(folder, tmp_path / name, size=(16, 16))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_centre_is_kept(make_folder, tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    _, split = built(make_folder({"a.png": encoded(Image.fromarray(wide))}), tmp_path)
    assert split.train.all_images()[0, :, :, 1:-1].min() > 240


def test_exif_orientation_is_applied(make_folder, tmp_path):
    upright = picture(3, 24, 16)
    stored = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's own inverse turns, by orientation
    files = {"1.png": encoded(upright)}
    for orientation, turn in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"{orientation}.png"] = encoded(upright.transpose(Image.Transpose(turn)), exif=exif)
    _, split = built(make_folder(files), tmp_path, size=(24, 16))
    images = split.train.all_images()
    assert len(images) == 8
    for image in images:
        np.testing.assert_array_equal(image, np.asarray(upright).transpose(2, 0, 1))


def test_a_sideways_photograph_counts_by_its_upright_size(make_folder, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = make_folder({"a.jpg": encoded(picture(0, 16, 32), "JPEG", exif=exif)})
    assert built(folder, tmp_path, size=(32, 16))[0].count == 1


def test_an_animation_gives_its_first_frame(make_folder, tmp_path):
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    _, split = built(make_folder({"a.gif": data}), tmp_path)
    assert split.train.all_images()[0, :, 5, 5].tolist() == [255, 0, 0]


def test_nothing_usable_leaves_the_old_archive_in_place(make_folder, tmp_path):
    dest = tmp_path / "set.zip"
    dest.write_bytes(b"old")
    with pytest.raises(DatasetError, match="no usable picture"):
        build_dataset(make_folder({"a.png": b"?"}), dest, size=(16, 16), force=True)
    assert dest.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "set.zip"]


def test_the_destination_must_be_a_zip(make_folder, tmp_path):
    with pytest.raises(DatasetError, match=r"must end in \.zip"):
        build_dataset(make_folder({"a.png": b"?"}), tmp_path / "set", size=(16, 16))


def test_a_destination_that_cannot_be_written_is_a_storage_error(make_folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        build_dataset(make_folder({"a.png": encoded(picture(0))}), tmp_path / "file" / "set.zip", size=(16, 16))


def test_hashes_in_the_index_are_those_of_the_stored_pictures(make_folder, tmp_path):
    report, split = built(make_folder({"a.png": encoded(picture(0))}), tmp_path)
    with zipfile.ZipFile(report.dest) as archive:
        (entry,) = json.loads(archive.read("dataset.json"))["pictures"]
        assert decode(archive.read(entry["name"])).shape == (3, 16, 16)
    assert hashlib.sha256(bytes.fromhex(entry["sha256"])).hexdigest() == split.train.card.hash
