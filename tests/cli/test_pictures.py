"""The commands that paint, look into files and make archives, end to end on a network of toy size."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from capriccio.config import ImageShape
from capriccio.data.dataset import peek_shape
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained network of 16×24 pictures."""
    path = tmp_path_factory.mktemp("model") / "snapshot-000001.safetensors"
    torch.manual_seed(0)
    generator = Generator(preset("tiny", ImageShape(height=16, width=24)).generator).eval()
    facts = SnapshotFacts(nimg=1000, data={"name": "toys", "heldout": [f"{i}.png" for i in range(40)]}, licence="none")
    save_snapshot(path, Snapshot(generator=generator, discriminator=None, facts=facts))
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_generate_writes_each_picture_and_a_grid(model, cli, tmp_path):
    code, out, _ = cli("generate", "-m", model, "--seeds", "0-2,42", "--out", tmp_path / "out")
    assert code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"seed0000.png", "seed0001.png", "seed0002.png", "seed0042.png", "grid.png"}
    assert "5 files" in out
    assert pixels(tmp_path / "out" / "seed0042.png").shape == (16, 24, 3)


def test_a_picture_is_the_same_alone_and_from_a_file_of_settings(model, cli, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"model: {model}\nseeds: '7'\npsi: 0.5\ngrid: false\nout: {tmp_path / 'alone'}\n")
    assert cli("generate", "--config", settings)[0] == 0
    assert cli("generate", "-m", model, "--seeds", "5-8", "--psi", "0.5", "--out", tmp_path / "among")[0] == 0
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["seed0007.png"]
    difference = pixels(tmp_path / "alone" / "seed0007.png").astype(int) - pixels(tmp_path / "among" / "seed0007.png")
    assert abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["generate", "--seeds", "3", "--no-grid", "--format", "webp", "--out", "{}/p"], ["p/seed0003.webp"]),
        (["mix", "--rows", "1", "--cols", "2,3", "--layers", "0-2", "--out", "{}/mix.png"], ["mix.png"]),
        (["video", "--seeds", "0,5", "--seconds", "0.1", "--fps", "10", "--out", "{}/walk.webp"], ["walk.webp"]),
    ],
    ids=lambda value: value[0],
)
def test_json_is_one_document_that_lists_the_files(argv, names, model, cli, tmp_path):
    code, out, _ = cli(*(word.format(tmp_path) for word in argv), "--model", model, "--json")
    assert code == 0
    assert json.loads(out) == {"files": [str(tmp_path / name) for name in names]}
    assert all((tmp_path / name).stat().st_size > 0 for name in names)


def test_info_prints_what_the_file_says(model, cli):
    code, out, _ = cli("info", model, "--json")
    header = json.loads(out)
    assert code == 0
    assert (header["file"], header["nimg"], header["licence"]) == (str(model), 1000, "none")
    assert header["generator"]["shape"] == {"channels": 3, "height": 16, "width": 24}
    assert len(header["data"]["heldout"]) == 40
    code, told, _ = cli("info", "-m", model.parent)
    assert code == 0
    assert "nimg: 1000" in told
    assert "heldout: 40 pictures" in told


def test_info_tells_first_what_a_network_is_and_its_calibration_in_one_line(cli, archive):
    code, out, _ = cli("info", "landscapes-64")
    keys = [line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")]
    assert code == 0
    assert keys[:6] == ["file", "title", "description", "shape", "data", "licence"]
    assert "shape: 64×64, 3 channels" in out
    (line,) = [line for line in out.splitlines() if line.startswith("calibration: ")]
    assert re.fullmatch(r"calibration: version 3, by \d+ made and \d+ real pictures", line)
    assert len(out.splitlines()) < 80
    assert "one of them" in cli("info", "landscapes-64", "-m", "landscapes-128")[2]
    assert "it is a data set, not a network; 'capriccio dataset inspect'" in cli("info", archive)[2]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["generate", "--seeds", "5-3"], "--seeds: "),
        (["generate", "--no-grid", "--no-singles"], "--no-singles and --no-grid"),
        (["generate", "--psi", "x"], "--psi: Expected float. Got value: x"),
        (["generate", "--class", "2"], "error: --class: this model has no classes; leave it out."),
        (["generate", "--cutoff", "99"], "error: --cutoff must lie in 0..6 for this network, got 99."),
        (["generate", "--batch", "0"], "error: --batch must be at least 1, got 0."),
        (["generate", "--psi", "11"], "error: --psi must lie in -10..10"),
        (["generate", "--device", "tpu"], "--device"),
        (["mix", "--rows", "x"], "--rows: "),
        (["mix", "--rows", "{}/found"], "'{}/found' is a folder; its latents are {}/found/latents.safetensors."),
        (["mix", "--cols", "{}"], "--cols: '{}' is a folder; name seeds like 0-3,7, or a latents file."),
        (["mix", "--rows", "{}/a.PNG"], "--rows: '{}/a.PNG' is a picture; 'capriccio project' finds its latents."),
        (["mix", "--layers", "corse"], "Did you mean 'coarse'?"),
        (["mix", "--out", "mix.bmp"], "'.bmp' is no picture format written here. There are .png, "),
        (["mix", "--out", "{}"], "error: --out: '{}' is a folder; name a file."),
        (["mix", "--cells", "{}/a.PNG"], "error: --cells: '{}/a.PNG' is a file; name a folder"),
        (["video", "--out", "{}/a.PNG/x"], "error: --out: '{}/a.PNG' is a file; name a folder"),
        (["generate", "--out", "{}/a.PNG/x"], "error: --out: '{}/a.PNG' is a file; name a folder"),
        (["video", "--seeds", "1"], "2 to"),
        (["video", "--out", "walk.gif"], "'.gif' is no film format. There are "),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(argv, told, model, cli, tmp_path, tmp_path_factory, monkeypatch):
    given = tmp_path_factory.mktemp("given")
    (given / "found").mkdir()
    (given / "found" / "latents.safetensors").touch()
    (given / "a.PNG").touch()
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*(word.replace("{}", str(given)) for word in argv), "-m", model)
    assert code == 2
    assert told.replace("{}", str(given)) in err
    assert err.startswith("capriccio: error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_is_named(cli, tmp_path):
    code, _, err = cli("generate", "-m", tmp_path / "gone.safetensors")
    assert code == 2
    assert "gone.safetensors" in err


def test_painted_landscapes_become_an_archive(cli, tmp_path):
    dest = tmp_path / "painted.zip"
    code, out, _ = cli("dataset", "synth", dest, "--count", "3", "--size", "16x24", "--json")
    assert code == 0
    assert json.loads(out) == {"dest": str(dest), "count": 3, "height": 16, "width": 24, "skipped": []}
    assert peek_shape(dest) == ImageShape(height=16, width=24)


def test_photographs_become_an_archive_and_what_was_left_out_is_listed(cli, tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    Image.new("RGB", (60, 40), "teal").save(source / "good.jpg")
    (source / "broken.jpg").write_bytes(b"nothing")
    code, out, _ = cli("dataset", "build", source, tmp_path / "built.zip", "--size", "32")
    assert code == 0
    assert out.startswith("1 picture of 32×32 in ")
    assert "left out: broken.jpg: " in out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "SRC is missing: capriccio dataset build SRC... DEST --size S"),
        (["{}/none", "x.zip", "--size", "32"], "SRC: there is no file or folder"),
        (["{}", "x.zip"], "--size is missing"),
        (["{}", "x.zip", "--size", "0.5"], "--size: a size is S or HxW"),
        (["{}", "x.zip", "--size", "32"], "picture"),
    ],
)
def test_photographs_that_cannot_be_built_are_refused(argv, told, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("dataset", "build", *(word.format(tmp_path) for word in argv))
    assert code == 2
    assert told in err
    assert list(tmp_path.iterdir()) == []
