import io
import json
import struct
import zlib
from xml.etree import ElementTree

import pytest
from PIL import Image, PngImagePlugin

from capriccio.errors import UsageError
from capriccio.provenance import (
    MAX_SEEDS,
    TRAINED_ALGORITHMIC_MEDIA,
    Provenance,
    read_provenance,
    save_options,
    to_xmp,
)

RECORD = Provenance(
    model_hash="a1b2c3d4e5f60718",
    licence="research & evaluation <only> — «see card»",
    seeds=(42,),
    truncation_psi=0.7,
    truncation_cutoff=4,
    noise_mode="random",
    noise_seed=7,
    class_index=3,
    mixed_layers=(0, 1, 2),
    mixed_seeds=(8,),
    latents=("photo “x”.npz",),
)


def saved(file_format, provenance=RECORD, mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, (16, 12), 100).save(file, format=file_format, **save_options(provenance, file_format))
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp", "avif"])
def test_every_format_gives_back_the_record_it_was_given(file_format, tmp_path):
    path = tmp_path / f"picture.{file_format}"
    path.write_bytes(saved(file_format))
    assert read_provenance(path) == RECORD
    with Image.open(path) as image:
        assert read_provenance(image) == RECORD


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp", "avif"])
def test_every_format_says_in_iptc_words_that_a_model_made_it(file_format):
    packet = Image.open(io.BytesIO(saved(file_format))).info["xmp"]
    packet = packet.decode() if isinstance(packet, bytes) else packet
    root = ElementTree.fromstring(packet)
    found = root.find(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert found.text == TRAINED_ALGORITHMIC_MEDIA


@pytest.mark.parametrize("file_format", ["jpeg", "webp", "avif"])
def test_exif_alone_is_enough_when_a_program_drops_the_xmp(file_format):
    options = save_options(RECORD, file_format)
    file = io.BytesIO()
    Image.new("RGB", (16, 12)).save(file, format=file_format, exif=options["exif"])
    assert read_provenance(Image.open(io.BytesIO(file.getvalue()))) == RECORD


def test_a_damaged_png_text_falls_back_to_the_xmp_packet():
    text = PngImagePlugin.PngInfo()
    text.add_itxt("capriccio", "{broken")
    text.add_itxt("XML:com.adobe.xmp", to_xmp(RECORD))
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, format="png", pnginfo=text)
    assert read_provenance(Image.open(io.BytesIO(file.getvalue()))) == RECORD


def test_a_photograph_without_a_record_has_no_provenance(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg", exif=Image.Exif(), xmp=b"<x:xmpmeta/>")
    assert read_provenance(tmp_path / "photo.jpg") is None


def test_one_seed_is_named_seed_and_keys_of_later_versions_are_ignored():
    record = json.loads(RECORD.to_json())
    assert record["seed"] == 42
    record["a_later_idea"] = {"nested": [1]}
    assert Provenance.from_json(json.dumps(record)) == RECORD


def test_a_sheet_of_a_million_pictures_still_fits_into_a_jpeg():
    many = Provenance(model_hash="0" * 64, licence="x", kind="grid", seeds=tuple(range(4_000_000_000, 4_000_005_000)))
    back = read_provenance(Image.open(io.BytesIO(saved("jpeg", many))))
    assert back is not None
    assert back.seeds == many.seeds[:MAX_SEEDS]


def test_long_names_and_licences_are_cut_so_that_they_fit_every_format():
    wordy = Provenance(model_hash="0", licence="é" * 50_000, latents=("ü" * 5000,) * 500, seeds=(1,))
    for file_format in ("png", "jpeg", "webp", "avif"):
        assert read_provenance(Image.open(io.BytesIO(saved(file_format, wordy)))).seed == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[1]", "{}", '{"model_hash": 5, "licence": "x"}', '{"model_hash": "x", "licence": "x", "seeds": 3}',
        '{"model_hash": "x", "licence": "x", "seeds": [true]}', "[" * 50_000, '{"model_hash": "' + "x" * 70_000 + '"}',
        '{"model_hash": "x", "licence": "x", "truncation_psi": "much"}', '{"model_hash": "x"}',
    ],
)  # fmt: skip
def test_a_foreign_or_hostile_record_is_refused(text):
    with pytest.raises(UsageError, match="provenance:"):
        Provenance.from_json(text)


@pytest.mark.parametrize("file_format", ["png", "jpeg", "webp", "avif"])
def test_no_damaged_byte_makes_reading_crash(file_format, tmp_path):
    whole = saved(file_format)
    path = tmp_path / "damaged"
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged[: len(damaged) - position % 97])
        try:
            read_provenance(path)
        except UsageError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right, a crash is not


def test_a_text_chunk_that_unpacks_without_end_is_refused(tmp_path):
    bomb = b"capriccio\0\1\0\0\0" + zlib.compress(b"0" * 100_000_000)
    chunk = struct.pack(">I", len(bomb)) + b"iTXt" + bomb + struct.pack(">I", zlib.crc32(b"iTXt" + bomb))
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, format="png")
    whole = file.getvalue()
    (tmp_path / "bomb.png").write_bytes(whole[:33] + chunk + whole[33:])
    try:
        assert read_provenance(tmp_path / "bomb.png") is None
    except UsageError as error:
        assert "bomb.png" in str(error)  # noqa: PT017 - Pillow versions differ in where they stop


def test_a_missing_file_and_a_text_file_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.png: there is no such file"):
        read_provenance(tmp_path / "nowhere.png")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.txt: cannot be read as a picture"):
        read_provenance(tmp_path / "notes.txt")
