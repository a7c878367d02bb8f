from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from capriccio.data import open_dataset, peek_shape
from capriccio.data.card import DataCard
from capriccio.errors import ConfigError, DatasetError, StorageError

from .conftest import encoded, picture


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1)


def test_the_room_loads_no_torch():
    code = "import sys, capriccio.data, capriccio.data.landscapes; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_archive_is_read_in_the_order_of_its_names(make_zip):
    path = make_zip({"b/0.png": encoded(picture(1)), "a/1.png": encoded(picture(2)), "a/0.png": encoded(picture(3))})
    data = open_dataset(path).train
    assert data.names == ("a/0.png", "a/1.png", "b/0.png")
    np.testing.assert_array_equal(data.images([0, 2]), [pixels(picture(3)), pixels(picture(1))])


def test_a_folder_of_equal_pictures_reads_like_the_archive(make_zip, make_folder):
    files = {f"{i // 2}/img{i}.png": encoded(picture(i)) for i in range(5)}
    archive, folder = open_dataset(make_zip(files)).train, open_dataset(make_folder(files)).train
    assert archive.names == folder.names
    np.testing.assert_array_equal(archive.all_images(), folder.all_images())
    assert archive.card.hash == folder.card.hash


@pytest.mark.parametrize("cache", ["none", "raw", "auto", "device"])
def test_mirrored_items_follow_all_others(make_zip, cache):
    data = open_dataset(make_zip(), mirror=True, cache=cache).train
    assert (len(data), data.num_pictures) == (10, 5)
    np.testing.assert_array_equal(data.images([7, 2])[0], data.images([2])[0, :, :, ::-1])
    np.testing.assert_array_equal(data.all_images(), data.images(range(5)))


def test_what_images_returns_belongs_to_the_caller(make_zip):
    data = open_dataset(make_zip()).train
    first = data.images([0]).copy()
    data.images([0])[:] = 0
    np.testing.assert_array_equal(data.images([0]), first)


def test_an_index_outside_the_data_set_is_refused(make_zip):
    data = open_dataset(make_zip()).train
    for index in (-1, 5):
        with pytest.raises(IndexError, match=r"0\.\.4"):
            data.images([index])


def test_classes_become_one_hot_labels(make_zip):
    index = {"labels": [[f"img{i}.png", label] for i, label in enumerate([3, 0, 0, 1, 3])]}
    data = open_dataset(make_zip(index=index), labels=True, mirror=True).train
    assert data.c_dim == data.card.c_dim == 4
    np.testing.assert_array_equal(data.labels([0, 3, 5]), np.eye(4, dtype=np.float32)[[3, 1, 3]])


def test_the_card_says_what_classes_are_called(make_zip):
    labels = [[f"img{i}.png", label] for i, label in enumerate([2, 0, 0, 1, 2])]
    card = open_dataset(make_zip(index={"labels": labels, "class_names": ["a", "b", "c"]}), labels=True).train.card
    assert (card.class_names, card.vector_labels) == (("a", "b", "c"), False)
    assert DataCard.from_dict(json.loads(json.dumps(card.to_dict()))) == card
    short = make_zip(index={"labels": labels, "class_names": ["a", "b"]}, name="short.zip")
    assert open_dataset(short, labels=True).train.card.class_names == ()


def test_label_vectors_are_used_as_they_are(make_zip):
    index = {"labels": [[f"img{i}.png", [i, 0.5]] for i in range(5)]}
    data = open_dataset(make_zip(index=index), labels=True).train
    np.testing.assert_array_equal(data.labels([3, 1]), np.array([[3, 0.5], [1, 0.5]], dtype=np.float32))
    assert data.card.vector_labels


def test_labels_that_were_not_asked_for_are_not_used(make_zip):
    data = open_dataset(make_zip(index={"labels": [["img0.png", 1]]})).train
    assert not data.has_labels
    assert data.labels([0, 1]).shape == (2, 0)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "has no labels"),
        ({"labels": None}, "has no labels"),
        ("{", "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ({"labels": [["img0.png", 0]]}, "no label for 'img1.png' and 3 other pictures"),
        ({"labels": [[f"img{i}.png", [0, 1][i == 3] or [1.0]] for i in range(5)]}, "not a mixture"),
        ({"labels": [[f"img{i}.png", -i] for i in range(5)]}, "'img1.png' must lie in 0..65535, got -1"),
        ({"labels": [[f"img{i}.png", [0.0] * i] for i in range(5)]}, "'img0.png' must be a list of 1 finite"),
        ({"labels": [["img0.png"]]}, r"must be \[name, label\]"),
    ],
)
def test_labels_that_cannot_be_used_are_explained(make_zip, index, message):
    with pytest.raises(DatasetError, match=message):
        open_dataset(make_zip(index=index), labels=True)


def test_larger_pictures_are_reduced_without_aliasing(make_zip):
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 255
    data = open_dataset(make_zip({"a.png": encoded(Image.fromarray(stripes))}), size=(8, 8)).train
    assert data.images([0]).shape == (1, 3, 8, 8)
    assert np.abs(data.images([0])[0, :, :, 1:-1].astype(int) - 127).max() < 24


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_channel_count_is_read_and_reduced(make_zip, channels):
    values = np.random.default_rng(0).integers(0, 256, (16, 24, channels), dtype=np.uint8)
    image = Image.fromarray(values.squeeze())
    path = make_zip({"a.png": encoded(image)})
    np.testing.assert_array_equal(open_dataset(path).train.images([0])[0], values.transpose(2, 0, 1))
    assert open_dataset(path, size=(8, 12)).train.images([0]).shape == (1, channels, 8, 12)
    assert peek_shape(path, size=(8, 12)).channels == channels


def test_pictures_smaller_than_asked_are_refused(make_zip):
    with pytest.raises(DatasetError, match=r"16×16, too small for 32×32 .*; give pictures of at least that size"):
        open_dataset(make_zip(), size=(32, 32))


def test_another_aspect_is_refused_for_an_archive(make_zip):
    with pytest.raises(DatasetError, match=r"another aspect than 8×16.*capriccio dataset build"):
        open_dataset(make_zip(), size=(8, 16))


def test_a_size_no_network_can_have_is_refused_with_the_nearest(make_zip):
    path = make_zip({"a.png": encoded(picture(0, 150, 150))})
    with pytest.raises(ConfigError, match=r"150×150 cannot be reached.*nearest good size"):
        open_dataset(path)


def test_a_set_that_is_not_there_is_refused(tmp_path, make_zip, make_folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "set.tar").write_bytes(b"x")
    (tmp_path / "broken.zip").write_bytes(make_zip().read_bytes()[:-40])
    (tmp_path / "text.zip").write_bytes(b"this is not a zip")
    for name, message in {
        "missing": "does not exist",
        "empty": "is empty",
        "set.tar": "neither a folder nor a .zip",
        "broken.zip": "not a readable zip archive.*cut off",
        "text.zip": "not a readable zip archive",
    }.items():
        with pytest.raises(DatasetError, match=message):
            open_dataset(tmp_path / name)
    with pytest.raises(DatasetError, match="holds 1 file, but no picture"):
        open_dataset(make_folder({"notes.txt": b"hello"}))


def test_an_archive_of_different_sizes_names_both(make_zip):
    path = make_zip({"a.png": encoded(picture(0)), "b.png": encoded(picture(1, 16, 32))})
    with pytest.raises(DatasetError, match=r"'b.png' is 3×16×32, but 'a.png' is 3×16×16"):
        open_dataset(path)


def test_a_damaged_picture_is_named(make_zip):
    good = encoded(picture(1, 64, 64))
    with pytest.raises(DatasetError, match=r"'b.png' cannot be decoded"):
        open_dataset(make_zip({"a.png": encoded(picture(0, 64, 64)), "b.png": good[: len(good) // 2]}))
    with pytest.raises(DatasetError, match=r"'a.png' is not a picture of a known format"):
        open_dataset(make_zip({"a.png": b"<html>"}))
    with pytest.raises(DatasetError, match=r"'a.png' has mode I;16"):
        open_dataset(make_zip({"a.png": encoded(Image.fromarray(np.zeros((8, 8), np.uint16)))}))


def test_a_picture_that_became_unreadable_during_training_is_named(make_folder):
    folder = make_folder({f"{i}.png": encoded(picture(i)) for i in range(3)})
    data = open_dataset(folder, cache="none").train
    (folder / "1.png").write_bytes(b"")
    data.images([0, 2])
    with pytest.raises(DatasetError, match=r"'1.png' is an empty file"):
        data.images([0, 1])


def test_a_damaged_member_of_a_zip_is_named(make_zip):
    path = make_zip()
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"img2.png") + 100] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"'img2.png' cannot be read"):
        open_dataset(path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_an_absurd_size_is_refused_before_decoding(make_zip, side):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    with pytest.raises(DatasetError, match=r"'a.png' has .*more.*than the limit"):
        open_dataset(make_zip({"a.png": bomb}))


@pytest.mark.parametrize("subset", [0, 6])
def test_a_subset_larger_than_the_set_is_refused(make_zip, subset):
    with pytest.raises(DatasetError, match=rf"1\.\.5 pictures, got {subset}"):
        open_dataset(make_zip(), subset=subset)


def test_the_card_says_what_was_trained_on_and_not_where(make_zip, tmp_path):
    index = {"labels": None, "licence": "CC0-1.0"}
    card = open_dataset(make_zip(index=index, name="hills.zip"), holdout=1, subset=3, mirror=True).train.card
    assert (card.name, card.total, card.count, len(card.heldout), card.mirror) == ("hills", 5, 3, 1, True)
    assert card.licence == "CC0-1.0"
    text = json.dumps(card.to_dict())
    assert str(tmp_path) not in text
    assert DataCard.from_dict(json.loads(text)) == card
    assert DataCard.from_dict(json.loads(text) | {"of_a_later_version": 1}) == card
    with pytest.raises(DatasetError, match="data card needs"):
        DataCard.from_dict({"name": "hills"})


def test_the_hash_follows_the_pictures_not_their_encoding(make_zip):
    webp = {f"img{i}.webp": encoded(picture(i), "WEBP", lossless=True) for i in range(5)}
    other = {f"img{i}.png": encoded(picture(i + 1)) for i in range(5)}
    first = open_dataset(make_zip()).train.card.hash
    assert open_dataset(make_zip(webp)).train.card.hash == first
    assert open_dataset(make_zip(other)).train.card.hash != first


# the cache


def test_the_second_opening_decodes_nothing(make_zip):
    path, calls = make_zip(), []
    open_dataset(path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 5) for i in range(1, 6)]
    open_dataset(path, progress=lambda done, total: pytest.fail("read again"))


def test_the_cache_lies_in_its_own_folder_and_nothing_beside_the_data(make_zip, cache_dir):
    path = make_zip()
    open_dataset(path)
    assert [file.name for file in path.parent.iterdir()] == ["set.zip"]
    kinds = sorted(file.name.split(".", 1)[1] for file in (cache_dir / "datasets").iterdir())
    assert kinds == ["pixels.npy", "survey.npz"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "survey", "missing"])
def test_a_damaged_cache_is_made_again(make_zip, cache_dir, damage):
    path = make_zip()
    expected = open_dataset(path).train.all_images()
    (pixels_file,) = (cache_dir / "datasets").glob("*.pixels.npy")
    (survey_file,) = (cache_dir / "datasets").glob("*.survey.npz")
    raw = bytearray(pixels_file.read_bytes())
    match damage:
        case "cut":
            pixels_file.write_bytes(raw[:-1])
        case "flip":
            raw[-1] ^= 0xFF
            pixels_file.write_bytes(raw)
        case "empty":
            pixels_file.write_bytes(b"")
        case "survey":
            survey_file.write_bytes(survey_file.read_bytes()[:50])
        case "missing":
            pixels_file.unlink()
    np.testing.assert_array_equal(open_dataset(path).train.all_images(), expected)
    assert len(list((cache_dir / "datasets").iterdir())) == 2


def test_an_archive_that_changed_is_read_anew(make_zip):
    first = open_dataset(make_zip()).train.all_images()
    second = open_dataset(make_zip({f"img{i}.png": encoded(picture(i + 7)) for i in range(5)})).train.all_images()
    assert not np.array_equal(first, second)


def test_a_crash_while_the_cache_is_written_leaves_nothing_half_done(make_zip, cache_dir):
    good = encoded(picture(0))
    path = make_zip({"a.png": good, "b.png": good[:40]})
    with pytest.raises(DatasetError, match=r"b.png"):
        open_dataset(path)
    assert list((cache_dir / "datasets").iterdir()) == []


def test_what_a_killed_writer_left_goes_after_a_day(make_zip, cache_dir):
    folder = cache_dir / "datasets"
    folder.mkdir()
    old, fresh = folder / ".old.part", folder / ".fresh.part"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 90_000))
    open_dataset(make_zip())
    assert (old.exists(), fresh.exists()) == (False, True)


@pytest.mark.skipif(os.name != "posix", reason="starts processes that share a folder")
def test_two_processes_may_fill_the_cache_at_once(make_zip):
    path = make_zip({f"{i:03d}.png": encoded(picture(i)) for i in range(60)})
    code = (
        "import sys; from capriccio.data import open_dataset; data = open_dataset(sys.argv[1], cache='raw').train; "
        "print(data.all_images().sum(), data.card.hash)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert all(process.returncode == 0 for process in running)


def test_no_room_means_decoding_and_raw_says_so(make_zip, monkeypatch):
    path = make_zip()
    monkeypatch.setattr("capriccio.data.stores.has_room", lambda folder, num_bytes: False)
    assert open_dataset(path).train.images([0]).shape == (1, 3, 16, 16)
    with pytest.raises(StorageError, match="cache 'raw' needs"):
        open_dataset(path, cache="raw")


# a plain folder of odd photographs


def test_odd_photographs_are_cut_to_the_asked_size_once(make_folder, cache_dir):
    folder = make_folder({f"{i}.jpg": encoded(picture(i, 40 + 8 * i, 64), "JPEG") for i in range(4)})
    calls = []
    split = open_dataset(folder, size=(32, 32), progress=lambda done, total: calls.append(done))
    assert split.train.shape == peek_shape(folder, size=(32, 32))
    assert split.train.all_images().shape == (4, 3, 32, 32)
    assert split.train.card.name == "photos"
    assert calls
    open_dataset(folder, size=(32, 32), progress=lambda done, total: pytest.fail("built again"))


def test_labels_of_a_folder_without_any_are_missed_before_it_is_built(make_folder, cache_dir):
    folder = make_folder({f"{i}.jpg": encoded(picture(i, 40 + 8 * i, 64), "JPEG") for i in range(4)})
    with pytest.raises(DatasetError, match="has no labels"):
        open_dataset(folder, size=(32, 32), labels=True)
    assert list(cache_dir.iterdir()) == []


def test_what_is_unreadable_is_left_out_and_listed_each_time(make_folder):
    files = {"a.jpg": encoded(picture(0, 40, 64), "JPEG"), "b.jpg": b"", "small.png": encoded(picture(1, 8, 64))}
    folder = make_folder(files | {".hidden.png": encoded(picture(2, 64, 64)), "notes.txt": b"hello"})
    for _ in range(2):
        split = open_dataset(folder, size=(32, 32))
        assert {item.name: item.reason for item in split.skipped} == {
            ".hidden.png": "hidden",
            "notes.txt": "is not a picture",
            "b.jpg": "is an empty file",
            "small.png": "is too small: 8×64, needed at least 32×32",
        }
        assert len(split.train) == 1


def test_odd_sizes_without_a_wanted_size_name_both(make_folder):
    folder = make_folder({"a.png": encoded(picture(0)), "b.png": encoded(picture(1, 16, 32))})
    with pytest.raises(DatasetError, match=r"'b.png' is 16×32, but 'a.png' is 16×16.*--resolution"):
        open_dataset(folder)


def test_equal_sizes_of_other_kinds_are_built_at_their_size(make_folder):
    folder = make_folder({"a.png": encoded(picture(0)), "b.png": encoded(picture(1).convert("L")), "c.png": b"?"})
    split = open_dataset(folder)
    assert split.train.all_images().shape == (2, 3, 16, 16)
    assert [item.name for item in split.skipped] == ["c.png"]


def test_a_folder_without_a_usable_picture_is_refused(make_folder):
    with pytest.raises(DatasetError, match="no usable picture: all 2 are damaged"):
        open_dataset(make_folder({"a.png": b"?", "b.png": b""}))
    told = r"the only file was left out as 'too-small'; .*; give --size 16, or .* --max-enlarge 4"
    with pytest.raises(DatasetError, match=told):
        open_dataset(make_folder({"a.png": encoded(picture(0))}, "small"), size=(64, 64))
