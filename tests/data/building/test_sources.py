from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile

import fsspec
import numpy as np
import pytest

from capriccio.data import Recipe, build_dataset, open_dataset
from capriccio.data.archive import open_files, read_index
from capriccio.errors import DatasetError

from ..conftest import encoded, picture


def tar_of(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def build(sources, tmp_path, size=(16, 16), **options):
    report = build_dataset(sources, tmp_path / "built.zip", size=size, workers=0, force=True, **options)
    return report, {entry.file: entry.status for entry in report.entries}, read_index(open_files(report.dest))


def test_a_zip_is_read_like_the_folder_it_was_made_from(make_folder, make_zip, tmp_path):
    files = {"a/é.png": encoded(picture(0)), "b.jpg": encoded(picture(1), "JPEG"), ".x.png": b"", "notes.txt": b"hi"}
    folder, told, _ = build(make_folder(files), tmp_path)
    first = folder.dest.read_bytes()
    archive, told_of_zip, _ = build(make_zip(files, name="in.zip"), tmp_path)
    assert told == told_of_zip
    assert archive.dest.read_bytes() == first
    assert told == {"a/é.png": "kept", "b.jpg": "kept", ".x.png": "dropped", "notes.txt": "not-an-image"}


def test_what_is_no_picture_is_told_with_what_to_do(make_folder, tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x.png", encoded(picture(1)))
    files = {"a.png": encoded(picture(0)), "more.zip": inner.getvalue(), "data.mdb": b"x", "s.tar": b"x"}
    folder = make_folder(files)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.jpg").symlink_to("nowhere")
    report, told, _ = build(folder, tmp_path)
    reasons = {entry.file: entry.reason for entry in report.entries}
    assert told.pop("a.png") == "kept"
    assert told == {"more.zip": "not-an-image", "data.mdb": "not-an-image", "s.tar": "not-an-image",
                    "pipe.jpg": "unreadable", "gone.jpg": "unreadable"}  # fmt: skip
    assert "a source of its own" in reasons["more.zip"]
    assert "LMDB" in reasons["data.mdb"]


def test_shards_give_pictures_with_classes_from_disk_and_memory(tmp_path):
    def shard(first: int) -> bytes:
        members = {}
        for i in range(first, first + 3):
            members[f"{i:04d}.png"] = encoded(picture(i))
            members[f"{i:04d}.cls"] = str(i % 2).encode()
        return tar_of(members)

    (tmp_path / "set-00.tar").write_bytes(shard(0))
    (tmp_path / "set-01.tar").write_bytes(shard(3))
    fsspec.filesystem("memory").pipe_file("/set-02.tar", shard(6))
    _, told, index = build([str(tmp_path / "set-{00..01}.tar"), "memory://set-02.tar"], tmp_path)
    assert told["set-00.tar/0000.png"] == told["set-02.tar/0008.png"] == "kept"
    assert told["set-00.tar/0000.cls"] == "not-an-image"
    assert [label for _, label in index["labels"]] == [0, 1] * 4 + [0]


def test_a_broken_shard_gives_what_came_before_and_is_named(tmp_path):
    members = {f"{i}.png": encoded(picture(i)) for i in range(4)}
    (tmp_path / "s.tar").write_bytes(tar_of(members)[:3000])
    report, told, _ = build(tmp_path / "s.tar", tmp_path)
    assert report.count >= 1
    assert told[str(tmp_path / "s.tar")] == "unreadable"


def cifar_python() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        f"cifar-10-batches-py/{name}": pickle.dumps(
            {b"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), b"labels": [3, 0, 9, 3]}, protocol=2
        )
        for name in ("data_batch_1", "data_batch_2", "test_batch")
    }


def test_cifar_as_published_for_python_and_as_binary_is_the_same(tmp_path):
    batches = cifar_python()
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(tar_of(batches, "w:gz"))
    binary = {}
    for name, data in batches.items():
        batch = pickle.loads(data)
        rows = [bytes([label]) + row.tobytes() for label, row in zip(batch[b"labels"], batch[b"data"], strict=True)]
        binary[name.replace("-py/", "-bin/") + ".bin"] = b"".join(rows)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(tar_of(binary, "w:gz"))
    report, told, index = build(tmp_path / "cifar-10-python.tar.gz", tmp_path, size=(32, 32))
    first = open_dataset(report.dest, holdout=0, cache="none").train.all_images()
    published = pickle.loads(batches["cifar-10-batches-py/data_batch_1"])[b"data"]
    np.testing.assert_array_equal(first[0].ravel(), published[0])
    assert told["cifar-10-batches-py/test_batch"] == "dropped"
    assert index["class_names"] == ["airplane", "cat", "truck"]
    assert [label for _, label in index["labels"]] == [1, 0, 2, 1] * 2
    again, _, _ = build(tmp_path / "cifar-10-binary.tar.gz", tmp_path, size=(32, 32))
    np.testing.assert_array_equal(open_dataset(again.dest, holdout=0, cache="none").train.all_images(), first)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/capriccio-was-here",)


def test_a_pickle_that_asks_for_more_than_arrays_is_never_run(tmp_path):
    (tmp_path / "c.tar").write_bytes(tar_of({"cifar-10-batches-py/data_batch_1": pickle.dumps({b"data": Evil()})}))
    with pytest.raises(DatasetError, match=r"asks for (posix|nt)\.system"):
        build(tmp_path / "c.tar", tmp_path, size=(32, 32))


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_with_its_labels(tmp_path, packed):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    folder = tmp_path / "mnist"
    folder.mkdir()
    ending = ".gz" if packed else ""
    pack = gzip.compress if packed else bytes
    pictures = struct.pack(">4I", 2051, 5, 28, 28) + images.tobytes()
    (folder / f"train-images-idx3-ubyte{ending}").write_bytes(pack(pictures))
    labels = struct.pack(">2I", 2049, 5) + bytes([7, 2, 1, 0, 4])
    (folder / f"train-labels-idx1-ubyte{ending}").write_bytes(pack(labels))
    report, _, index = build(folder, tmp_path, size=(28, 28), recipe=Recipe(channels=1))
    data = open_dataset(report.dest, holdout=0, cache="none").train
    np.testing.assert_array_equal(data.all_images()[:, 0], images)
    assert [label for _, label in index["labels"]] == [7, 2, 1, 0, 4]
    padded, _, _ = build(folder, tmp_path, size=(32, 32), recipe=Recipe(channels=1, crop="pad", max_enlarge=1.2))
    assert open_dataset(padded.dest, holdout=0, cache="none").train.all_images().shape == (5, 1, 32, 32)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone", "'gone' does not exist"),
        ("https://host/page.html", "is not a tar shard; put the addresses"),
        ("{tmp}/broken.zip", "not a readable zip archive"),
        ("{tmp}/train-images-idx3-ubyte", "not in MNIST's format"),
        ("{tmp}/cifar.tar", "not CIFAR-10 as published"),
        ("{tmp}/list.csv", "needs a column 'url'"),
        ("{tmp}/list.txt", "line 2 is no http or https address: 'ftp://x/a.jpg'"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(source, message, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK?")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(struct.pack(">4I", 7, 5, 28, 28))
    (tmp_path / "cifar.tar").write_bytes(tar_of({"cifar-10-batches-bin/data_batch_1.bin": b"123"}))
    (tmp_path / "list.csv").write_text("file,label\na.jpg,1\n")
    (tmp_path / "list.txt").write_text("# pictures\nftp://x/a.jpg\n")
    with pytest.raises(DatasetError, match=message):
        build(source.format(tmp=tmp_path), tmp_path)
