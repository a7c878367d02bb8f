"""Networks of other programs wherever a command takes one: it works, or one line says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import capriccio
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, load_snapshot, save_snapshot
from tests.cli.test_convert import ours
from tests.metrics.conftest import make_discriminator, make_generator


@pytest.fixture
def foreign(cli, tmp_path) -> Path:
    """A checkpoint of the rosinality program; the snapshot it was made of lies beside it."""
    path = tmp_path / "theirs.pt"
    assert cli("convert", ours(tmp_path), path, "--to", "rosinality")[0] == 0
    return path


def test_a_blend_of_foreign_networks_is_that_of_the_converted_ones(foreign, cli, tmp_path):
    other = load_snapshot(tmp_path / "ours.safetensors")
    for value in other.generator.parameters():
        value += 0.1 * torch.randn_like(value)
    save_snapshot(tmp_path / "relative.safetensors", other)
    relative = tmp_path / "relative.pt"
    assert cli("convert", tmp_path / "relative.safetensors", relative, "--to", "rosinality")[0] == 0
    blended = []
    for name, pair in (("foreign", (foreign, relative)), ("own", (tmp_path / "ours.safetensors", relative))):
        out = tmp_path / f"{name}.safetensors"
        code, _, err = cli("blend", *pair, "--from", "8", "--out", out)
        assert code == 0, err
        blended.append(load_snapshot(out).generator.state_dict())
    assert all(torch.equal(tensor, blended[1][name]) for name, tensor in blended[0].items())


@pytest.mark.slow
def test_calibrate_keeps_what_it_measures_of_a_foreign_network_in_the_cache(foreign, cli):
    code, told, err = cli("calibrate", "-m", foreign, "--count", 20, "--batch", 20, "--json")
    assert code == 0, err
    kept = Path(json.loads(told)["file"])
    assert kept.name == f"{capriccio.load(foreign, device='cpu').model_hash}.json"


def test_calibrate_names_the_conversion_where_a_foreign_file_cannot_hold_what_it_measures(foreign, cli, tmp_path):
    code, out, err = cli("calibrate", "-m", foreign, "--out", tmp_path / "a.safetensors")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"'capriccio convert {foreign} {tmp_path / 'converted.safetensors'}'" in err
    assert not (tmp_path / "a.safetensors").exists()


def test_a_run_is_not_continued_from_a_network_that_does_not_say_where_it_stands(foreign, cli, archive, tmp_path):
    code, _, err = cli("train", archive, "--out", tmp_path / "run", "--preset", "tiny", "--kimg", "0.032",
                       "--continue-from", foreign, "--device", "cpu")  # fmt: skip
    assert (code, err.count("\n")) == (2, 1), err
    assert "start a run from it with --init-from" in err


def test_a_run_starts_from_a_run_folder_or_a_name_as_from_a_file(cli, archive, tmp_path):
    words = ("train", archive, "--preset", "tiny", "--kimg", "0.032", "--device", "cpu")
    assert cli(*words, "--out", tmp_path / "first")[0] == 0
    for name, source in (("second", tmp_path / "first"), ("third", "landscapes-64")):
        code, told, err = cli(*words, "--out", tmp_path / name, "--init-from", source)
        assert code == 0, err
        assert "init: generator:" in told


def test_the_ruler_of_a_data_set_may_be_a_foreign_discriminator(cli, archive, tmp_path):
    own, theirs = tmp_path / "own.safetensors", tmp_path / "theirs.pt"
    networks = Snapshot(generator=make_generator(), discriminator=make_discriminator(), facts=SnapshotFacts())
    save_snapshot(own, networks)
    assert cli("convert", own, theirs, "--to", "nvidia")[0] == 0
    words = ("metrics", "-m", own, "--data", archive, "--metrics", "fd_discriminator_full", "--count", 32, "--json")
    values = []
    for reference in (theirs, own):
        code, told, err = cli(*words, "--reference", reference)
        assert code == 0, err
        values.append(json.loads(told)["results"][0]["values"])
    code, told, _ = cli(*words)  # the first one given was kept
    assert (code, json.loads(told)["results"][0]["values"]) == (0, values[0])
    assert values[0] == values[1]
