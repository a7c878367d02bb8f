"""`capriccio dataset …` as a person uses it: reports, growth, refusals in one line, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save_photographs(folder: Path, seeds: range, size: tuple[int, int] = (48, 40), ending: str = "png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(folder / f"{seed:04d}.{ending}")
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = save_photographs(tmp_path / "photos", range(6))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (folder / ".hidden.png").write_bytes((folder / "0000.png").read_bytes())
    return folder


def test_build_tells_people_and_machines(photos, cli, tmp_path):
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    where = ("--report", report, "--html", page)
    code, out, _ = cli("dataset", "build", photos, tmp_path / "s.zip", "--size", "16x24", *where)
    assert code == 0
    assert out.startswith("6 pictures of 16×24 in ")
    assert "left out: .hidden.png: hidden" in out
    files = {entry["file"]: entry for entry in json.loads(report.read_text())["files"]}
    assert files[".hidden.png"] == {"file": ".hidden.png", "status": "dropped", "reason": "hidden"}
    assert files["broken.jpg"]["status"] == "unreadable"
    assert {files[f"{i:04d}.png"]["status"] for i in range(6)} == {"kept"}
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_json_alone_stands_on_standard_output(photos, cli, tmp_path):
    code, out, _ = cli("dataset", "build", photos, tmp_path / "s.zip", "--size", "16", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["count"], told["counts"]) == (6, {"kept": 6, "dropped": 1, "unreadable": 1})


def test_add_and_inspect_follow_build(photos, cli, tmp_path):
    dest = tmp_path / "s.zip"
    cli("dataset", "build", photos, dest, "--size", "16", "--licence", "CC0-1.0")
    more = save_photographs(tmp_path / "more", range(4, 9))
    code, out, _ = cli("dataset", "add", more, dest)
    assert code == 0
    assert out.startswith(f"9 pictures of 16×16 in '{dest}', 3 of them new, 2 files left out.")
    code, out, _ = cli("dataset", "inspect", dest, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["count"], found["fit"], found["licence"]) == (9, True, "CC0-1.0")
    code, out, _ = cli("dataset", "inspect", dest, "--html", tmp_path / "i.html")
    assert code == 0
    assert "fit for training" in out
    assert (tmp_path / "i.html").exists()


def test_damage_makes_inspect_fail(cli, tmp_path, photos):
    code, out, _ = cli("dataset", "inspect", photos)
    assert code == 1
    assert "damaged: broken.jpg" in out


def test_the_short_side_and_an_aspect_make_a_size(photos, cli, tmp_path):
    code, out, _ = cli("dataset", "build", photos, tmp_path / "s.zip", "--size", "16", "--aspect", "3:2", "--json")
    assert code == 0
    assert (json.loads(out)["height"], json.loads(out)["width"]) == (16, 24)


def test_clean_drops_what_is_otherwise_reported(photos, cli, tmp_path):
    Image.new("RGB", (64, 64), "teal").save(photos / "flat.png")
    asked = ("dataset", "build", photos, tmp_path / "s.zip", "--size", "16", "--clean", "--json")
    code, out, _ = cli(*asked)
    assert code == 0
    assert {"name": "flat.png", "reason": "shows nearly nothing"} in json.loads(out)["skipped"]
    code, out, _ = cli(*asked, "--flat", "report", "--force")
    assert json.loads(out)["flaws"] == {"flat": 1}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["build", "{}", "{}/s.zip", "--size", "64", "--crops", "4"], "--crops 4 contradicts --crop centre"),
        (["build", "{}", "{}/s.zip", "--size", "64x64", "--aspect", "3:2"], "--aspect 3:2 contradicts --size 64x64"),
        (["build", "{}", "{}/s.zip", "--size", "64", "--aspect", "wide"], "--aspect: an aspect is width:height"),
        (["build", "{}", "{}/s.zip", "--size", "16x32", "--max-aspect", "1.5"], "--max-aspect 1.5 contradicts"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--channels", "rgba", "--format", "jpeg"], "cannot hold RGBA"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--background", "sky"], "--background: a colour is a name"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--crop", "middle"], "--crop: Expected one of centre, random"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--workers", "-1"], "--workers must be at least 0, got -1"),
        (["synth", "{}/old.zip", "--count", "2"], "exists and is not overwritten; --force replaces it"),
        (["build", "{}", "{}/old.zip", "--size", "16"], "exists and is not overwritten; --force replaces it"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--labels", "{}/l.csv"], "names 'gone.png', which is not in"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--labels", "x.csv"], "--labels must be auto, folders, none, or"),
        (["build", "{}/empty", "{}/s.zip", "--size", "16"], "is empty: there is no picture in it"),
        (["build", "{}/bad", "{}/s.zip", "--size", "16"], "holds no usable picture: the only file was left out"),
        (["build", "{}", "{}/s.zip", "--size", "16", "--report", "r.txt"], "--report: the name must end in .json"),
        (["build", "{}", "{}/s.tar", "--size", "16"], "must end in .zip"),
        (["build", "{}", "{}/s.zip", "--size", "4097"], "4097"),
        (["build", "s3x://a/b.tar", "{}/s.zip", "--size", "16"], "s3x"),
        (["add", "{}", "{}/none.zip"], "DEST: there is no file or folder"),
        (["add", "{}", "{}/old.zip"], "is not a readable zip archive"),
        (["add", "{}"], "DEST is missing: capriccio dataset add SRC... DEST"),
        (["inspect"], "DATA is missing"),
        (["inspect", "{}/gone.zip"], "DATA: there is no file or folder"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(argv, told, cli, tmp_path, monkeypatch):
    folder = save_photographs(tmp_path / "photos", range(2))
    (folder / "old.zip").write_bytes(b"old")
    (folder / "l.csv").write_text("file,label\n0000.png,1\ngone.png,2\n")
    (folder / "empty").mkdir()
    (folder / "bad").mkdir()
    (folder / "bad" / "x.jpg").write_bytes(b"nothing")
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("dataset", *(word.format(folder) for word in argv))
    assert code == 2, err
    assert told in err
    assert err.startswith("capriccio: error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_leaves_no_half_archive(tmp_path, stop, code):
    folder = save_photographs(tmp_path / "photos", range(120), (1600, 1200), "jpg")
    dest = tmp_path / "out" / "s.zip"
    process = subprocess.Popen(
        [sys.executable, "-m", "capriccio", "dataset", "build", str(folder), str(dest), "--size", "256"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    until = time.monotonic() + 60
    while process.poll() is None and not any(
        path.suffix == ".part" and path.stat().st_size > 50_000 for path in tmp_path.glob("out/.*")
    ):
        assert time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(stop)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert list(dest.parent.iterdir()) == []


def test_a_subject_chooses_the_crop_unless_one_is_given(photos, cli, tmp_path):
    for name, words, crop in (("a", (), "smart"), ("b", ("--crop", "pad"), "pad")):
        cli("dataset", "build", photos, tmp_path / f"{name}.zip", "--size", "16", "--subject", "cats", *words)
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
            assert crop in archive.read("dataset.json").decode()
