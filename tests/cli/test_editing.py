"""``directions`` and ``edit``, end to end on a network of toy size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.latent.directions import FOLDER, SUFFIX, edit, load_directions, read_directions
from capriccio.latent.files import load_latents
from capriccio.latent.statistics import LANDSCAPES, measure
from capriccio.loading.bundled import bundled_names
from capriccio.loading.model import load
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot


def untrained(path: Path, seed: int, channels: int = 3) -> Path:
    torch.manual_seed(seed)
    generator = Generator(preset("tiny", ImageShape(channels=channels, height=16, width=16)).generator).eval()
    save_snapshot(path, Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(licence="none")))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return untrained(tmp_path_factory.mktemp("model") / "toy.safetensors", 0)


@pytest.fixture(scope="module")
def found(model, tmp_path_factory) -> Path:
    """Factors of the toy network."""
    from capriccio.cli.main import main

    out = tmp_path_factory.mktemp("found") / "factors.json"
    argv = ["directions", "-m", model, "--method", "factors", "--count", "1", "--samples", "50", "--out", out]
    assert main([str(word) for word in argv]) == 0
    return out


@pytest.mark.parametrize("method", ["factors", "components"])
def test_directions_are_found_for_every_range_of_layers(method, model, cli, tmp_path):
    out = tmp_path / "found.json"
    code, told, _ = cli(
        "directions", "-m", model, "--method", method, "--count", "2", "--samples", "50", "--out", out,
        "--sheets", tmp_path / "sheets", "--seeds", "1,2", "--steps", "1", "--json",
    )  # fmt: skip
    assert code == 0
    names = [f"{method[:-1]}-{layers}-{i}" for layers in ("coarse", "middle", "all") for i in (1, 2)]
    assert list(read_directions(out).names) == names
    assert json.loads(told)["files"] == [str(out), *(str(tmp_path / "sheets" / f"{name}.png") for name in names)]
    assert read_directions(out).model_hash == load(model, device="cpu").model_hash


def test_statistics_name_directions_and_the_file_says_what_they_explain(model, cli, tmp_path):
    out = tmp_path / "named.json"
    names = "bright=lightness,vivid=saturation"
    code, told, _ = cli("directions", "-m", model, "--names", names, "--samples", "600", "--out", out, "--psi", "1")
    assert code == 0
    assert "R²" in told
    directions = read_directions(out)
    assert directions.names == ("bright", "vivid")
    assert len(directions.facts["explained"]) == 2
    assert len(directions.facts["response"]) == 2


def test_edit_moves_pictures_along_several_directions(model, found, cli, tmp_path):
    out = tmp_path / "edited"
    argv = ("edit", "-m", model, "--directions", found, "--seeds", "4,5", "--psi", "1", "--out", out)
    code, told, _ = cli(*argv, "--set", "factor-coarse-1=2", "--set", "factor-all-1=-0.5@5", "--json")
    assert code == 0
    expected = ["seed0004.png", "seed0005.png", "edited.safetensors", "sheet.png"]
    assert [Path(name).name for name in json.loads(told)["files"]] == expected
    directions, network = read_directions(found), load(model, device="cpu")
    moved = network.ws(seeds=[4, 5])
    moved[:, :3] += 2 * directions["factor-coarse-1"].vector
    moved[:, 5] -= 0.5 * directions["factor-all-1"].vector
    torch.testing.assert_close(load_latents(out / "edited.safetensors").ws, moved)
    code, _, _ = cli("generate", "-m", model, "--seeds", out / "edited.safetensors", "--out", tmp_path / "again")
    assert code == 0


def test_edit_lists_the_directions(model, found, cli):
    code, told, _ = cli("edit", "-m", model, "--directions", found, "--list")
    assert code == 0
    assert told.startswith("factor-coarse-1")
    code, told, _ = cli("edit", "-m", model, "--directions", found, "--list", "--json")
    assert json.loads(told)["factor-all-1"]["rows"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--set", "snow=1"], "'snow' is not a direction of this model. There are: factor-coarse-1"),
        (["--set", "factor-coarse-1"], "has no strength"),
        (["--set", "factor-coarse-1=much"], "must be a number, got 'much'"),
        (["--set", "factor-coarse-1=nan"], "must lie in -100..100, got nan"),
        (["--set", "factor-coarse-1=999"], "must lie in -100..100"),
        (["--set", "factor-coarse-1=1@"], "names no row"),
        (["--set", "factor-coarse-1=1@fine"], "'fine' begins at row 7"),
        ([], "--set is missing: NAME=STRENGTH"),
        (["--set", "factor-coarse-1=1", "--seeds", "x"], "--seeds: "),
    ],
)
def test_edits_that_cannot_be_are_one_line_and_write_nothing(argv, says, model, found, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("edit", "-m", model, "--directions", found, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_directions_of_another_model_are_refused(found, cli, tmp_path):
    other = untrained(tmp_path / "other.safetensors", 1)
    code, _, err = cli("edit", "-m", other, "--directions", found, "--set", "factor-all-1=1")
    assert code == 2
    assert "made for the model" in err
    code, _, err = cli("edit", "-m", other, "--set", "snow=1")
    assert code == 2
    assert "no directions come with this model" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--out", "d.npz"], "--out: a directions file ends in .json"),
        (["--names", "bright"], "--names: write NAME=STATISTIC"),
        (["--names", "a=lightnes"], "Did you mean 'lightness'"),
        (["--samples", "10"], "samples are needed"),
        (["--method", "factors", "--layers", ""], "names no row"),
        (["--method", "factors", "--count", "0"], "got 0"),
        (["--method", "components", "--samples", "1"], "at least 2 samples"),
        (["--reach", "0"], "reach must lie"),
    ],
)
def test_searches_that_cannot_be_are_one_line_and_write_nothing(argv, says, model, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("directions", "-m", model, *argv)
    assert (code, err.count("\n")) == (2, 1)
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_statistics_of_grey_pictures_are_refused(cli, tmp_path):
    grey = untrained(tmp_path / "grey.safetensors", 0, channels=1)
    code, _, err = cli("directions", "-m", grey, "--samples", "600", "--out", tmp_path / "d.json")
    assert code == 2
    assert "RGB" in err


@pytest.mark.parametrize("file", sorted(FOLDER.glob(f"*{SUFFIX}")), ids=lambda file: file.name)
def test_directions_that_are_shipped_belong_to_the_model_beside_them(file):
    name = file.name.removesuffix(SUFFIX)
    assert name in bundled_names()
    directions = load_directions(load(name, device="cpu"))
    assert len(directions) >= 4
    assert directions.names == read_directions(file).names
    response = directions.facts["response"]
    for i, line in enumerate(response):  # each raises its own statistic, and that more than any other
        assert line[i] > 0.3
        assert line[i] > 2 * max(abs(value) for j, value in enumerate(line) if j != i)


@pytest.mark.parametrize("name", LANDSCAPES)
@pytest.mark.skipif(not (FOLDER / f"landscapes-64{SUFFIX}").exists(), reason="no bundled model in this installation")
def test_the_bundled_model_does_what_the_direction_is_called(name):
    model = load("landscapes-64", device="cpu")
    ws, directions = model.ws(seeds=range(100, 112), truncation_psi=0.7), load_directions(model)
    more, less = (model.images(edit(ws, directions, {name: strength})) for strength in (1.5, -1.5))
    values = [measure(images, [LANDSCAPES[name].statistic])[:, 0] for images in (less, more)]
    assert (values[1] > values[0]).float().mean() >= 0.9
