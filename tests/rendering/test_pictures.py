import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from capriccio.errors import UsageError
from capriccio.provenance import Provenance, read_provenance
from capriccio.rendering.pictures import SUFFIXES, encode_picture, ending_of, format_of, save_picture

RECORD = Provenance(model_hash="abc", licence="x", seeds=(7,))


def noise(mode="RGB"):
    shape = (20, 30, {"L": 1, "RGB": 3, "RGBA": 4}[mode])
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8).squeeze())


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp", "a.avif"])
def test_the_ending_chooses_the_format_and_the_record_is_inside(name, tmp_path):
    path = save_picture(tmp_path / "new folder" / name, noise(), RECORD)
    assert read_provenance(path) == RECORD
    with Image.open(path) as image:
        assert image.format == {"jpg": "JPEG"}.get(path.suffix[1:].lower(), path.suffix[1:].upper())
        assert image.size == (30, 20)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(("file_format", "quality"), [("png", 1), ("webp", 100)])
def test_lossless_formats_keep_every_pixel(mode, file_format, quality):
    data = encode_picture(noise(mode), file_format, RECORD, quality=quality)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert(mode)), np.asarray(noise(mode)))


@pytest.mark.parametrize("file_format", ["jpeg", "webp", "avif"])
def test_quality_decides_the_size(file_format):
    low, high = (len(encode_picture(noise(), file_format, RECORD, quality=q)) for q in (10, 95))
    assert low < high


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((noise("RGBA"), "jpeg", RECORD), "no transparency"),
        ((Image.new("L", (16384, 1)), "webp", RECORD), "at most 16383 pixels"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_one_that_can(arguments, says):
    with pytest.raises(UsageError, match=says):
        encode_picture(*arguments)


def test_files_of_a_format_have_an_ending_that_names_it():
    assert [ending_of(file_format) for file_format in ("png", "jpeg", "webp", "avif")] == ["png", "jpg", "webp", "avif"]
    assert all(format_of(Path(f"x.{ending_of(file_format)}")) == file_format for file_format in SUFFIXES.values())


def test_wrong_endings_and_qualities_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"'\.jpgg' is no picture format.*There are \.png, \.jpg"):
        save_picture(tmp_path / "a.jpgg", noise(), RECORD)
    with pytest.raises(UsageError, match=r"1\.\.100, got 0"):
        save_picture(tmp_path / "a.jpg", noise(), RECORD, quality=0)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_picture_that_was_there(tmp_path):
    path = save_picture(tmp_path / "a.png", noise(), RECORD)
    before = path.read_bytes()
    with pytest.raises(UsageError):
        save_picture(path, noise(), RECORD, quality=1000)
    assert path.read_bytes() == before
