from __future__ import annotations

import base64
import io
import json
import re
import zipfile

import pytest
from PIL import Image

from capriccio.data import Recipe, build_dataset, open_dataset
from capriccio.data.inspection import inspect_dataset
from capriccio.errors import DatasetError
from capriccio.rendering.dataset_pages import save_build_page, save_inspection_page

from .conftest import encoded, picture


@pytest.fixture
def built(make_folder, tmp_path):
    files = {f"{kind}/{i} <b>.png": encoded(picture(10 * k + i, 40, 30)) for k, kind in enumerate("ab") for i in (0, 1)}
    files |= {"a/9.png": encoded(Image.new("RGB", (64, 64), "teal")), "b/again.png": encoded(picture(0, 80, 60))}
    folder = make_folder(files | {"b/notes.txt": b"x", "a/same.png": files["a/0 <b>.png"]})
    return build_dataset(folder, tmp_path / "set.zip", size=(16, 16), labels="folders", licence="CC0-1.0", workers=0)


def test_an_archive_of_ours_is_fit_and_says_what_is_in_it(built):
    found = inspect_dataset(built.dest)
    assert found.is_fit
    assert (found.count, found.shapes, found.formats) == (6, {"3×16×16": 6}, {"webp": 6})
    assert (found.licence, found.classes, found.label_dim) == ("CC0-1.0", {"a": 3, "b": 3}, 0)
    assert found.hash == open_dataset(built.dest).train.card.hash
    assert found.recipe == Recipe(image_format="webp").to_dict()
    assert sum(found.brightness.values()) == 6
    assert [sorted(group) for group in found.alike] == [["00000/img00000002.webp", "00000/img00000005.webp"]]
    assert json.loads(json.dumps(found.to_dict()))["fit"]


def test_damage_is_found_and_named_without_stopping(built):
    with zipfile.ZipFile(built.dest) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["00000/img00000001.webp"] = b"no picture"
    members["00000/img00000002.webp"] = encoded(picture(70), "WEBP", lossless=True)
    del members["00000/img00000003.webp"]
    with zipfile.ZipFile(built.dest, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    found = inspect_dataset(built.dest)
    assert not found.is_fit
    assert [(name[-10:], reason) for name, reason in found.damaged] == [
        ("00003.webp", "is listed in dataset.json and not there"),
        ("00001.webp", "is not a picture of a known format"),
        ("00002.webp", "does not show the pixels that dataset.json says"),
    ]


def test_any_archive_or_folder_can_be_looked_at(make_zip, make_folder):
    labels = {"labels": [[f"img{i}.png", [0.5, i]] for i in range(5)]}
    assert inspect_dataset(make_zip(index=labels)).label_dim == 2
    mixed = make_folder({"a.png": encoded(picture(0, 16, 16)), "b.png": encoded(picture(1, 20, 16).convert("L"))})
    found = inspect_dataset(mixed)
    assert found.shapes == {"3×16×16": 1, "1×20×16": 1}
    assert not found.is_fit
    with pytest.raises(DatasetError, match="does not exist"):
        inspect_dataset("gone.zip")


@pytest.mark.parametrize("kind", ["build", "inspection"])
def test_a_page_is_whole_in_itself_and_shows_every_kind(built, tmp_path, kind):
    path = tmp_path / "page.html"
    if kind == "build":
        save_build_page(built, path)
    else:
        save_inspection_page(inspect_dataset(built.dest), path)
    page = path.read_text(encoding="utf-8")
    assert "<b>" not in page  # names are escaped
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    pictures = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    assert len(pictures) >= 8
    headings = {"build": ("In the archive", "Duplicates", "Nearly flat", "left out"), "inspection": ("Classes",)}
    assert all(heading in page for heading in headings[kind])
    for data in pictures:
        Image.open(io.BytesIO(base64.b64decode(data))).load()


def test_the_report_on_disk_has_an_entry_for_every_file(built, tmp_path):
    built.save_json(tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (report["count"], report["counts"]) == (6, {"kept": 6, "duplicate": 1, "not-an-image": 1})
    assert all({"file", "status", "reason"} <= entry.keys() for entry in report["files"])
    entries = {entry["file"]: entry for entry in report["files"]}
    assert entries["a/same.png"]["status"] == "kept"  # the shorter name of the two equal files
    assert entries["a/0 <b>.png"]["duplicate_of"] == "a/same.png"
    assert entries["a/9.png"]["flaws"] == ["flat"]
    assert entries["b/again.png"]["flaws"] == ["duplicate"]
