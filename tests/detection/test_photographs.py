"""Photographs read for a calibration."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from capriccio.config import ImageShape
from capriccio.detection.photographs import read_photographs, strangers
from capriccio.errors import DatasetError

SHAPE = ImageShape(channels=3, height=16, width=16)


def photograph(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


def test_what_cannot_be_read_is_left_out_of_an_archive(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.writestr(name, photograph(ord(name[0])))
        archive.writestr("d.png", b"no picture")
        archive.writestr("__MACOSX/._a.png", b"litter")
    whole = bytearray(path.read_bytes())
    place = whole.index(photograph(ord("b"))) + 100
    whole[place] ^= 0xFF  # its checksum is wrong now
    path.write_bytes(bytes(whole))
    assert [name for name, _ in read_photographs(path, SHAPE, None, 9)] == ["a.png", "c.png"]


def test_what_cannot_be_read_is_left_out_of_a_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(photograph(1))
    (tmp_path / "._a.png").write_bytes(b"litter")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "folder.jpg" / "c.png").write_bytes(photograph(2))
    found = read_photographs(tmp_path, SHAPE, None, 9)
    assert [name for name, _ in found] == ["a.png", "folder.jpg/c.png"]
    assert found[0][1].shape == (3, 16, 16)


def test_names_choose_and_the_others_are_strangers(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(photograph(3))
    assert [name for name, _ in read_photographs(tmp_path, SHAPE, {"c.png", "b.png"}, 9)] == ["b.png", "c.png"]
    assert len(read_photographs(tmp_path, SHAPE, None, 2)) == 2
    assert strangers(tmp_path, {"a.png"}) == 2


def test_what_is_no_set_is_refused(tmp_path):
    (tmp_path / "set.txt").write_text("words")
    with pytest.raises(DatasetError, match="neither a folder nor"):
        read_photographs(tmp_path / "set.txt", SHAPE, None, 9)
