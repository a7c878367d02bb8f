"""``capriccio export``: one line that says how far the written file is from PyTorch, and one line for every refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from capriccio.cli.export import _parser
from capriccio.config import ImageShape
from capriccio.interop.export import TOLERANCE
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained network of 8×16 pictures."""
    path = tmp_path_factory.mktemp("model") / "snapshot-000001.safetensors"
    torch.manual_seed(0)
    generator = Generator(preset("tiny", ImageShape(height=8, width=16)).generator).eval()
    save_snapshot(path, Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(licence="none")))
    return path


def test_a_package_is_written_and_its_difference_told(model, cli, tmp_path):
    out = tmp_path / "new" / "tiny.pt2"
    code, told, _ = cli("export", "-m", model, "--format", "torch", "--out", out, "--json")
    assert code == 0
    report = json.loads(told)
    assert (report["files"], report["checked_batches"]) == ([str(out)], [1, 3, 8])
    assert report["largest_difference"] < 1e-5


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--format", "onxx", "--out", "{}/x"], "--format: Expected one of onnx, torch, web"),
        (["--out", "{}/x"], "--format is missing"),
        (["--format", "onnx"], "--out is missing"),
        (["--format", "torch", "--out", "{}/x.pt2", "--cutoff", "99"], "--cutoff must lie in 0.."),
        (["--format", "torch", "--out", "{}/x.pt2", "--tolerance", "0"], "--tolerance must be above 0"),
        (["--format", "torch", "--out", "{}/x.pt2", "--runtime", "y"], "--runtime"),
        (["--format", "torch", "--out", "{}"], "is a folder"),
        (["--format", "onnx", "--out", "{}/a.txt"], "--out: the name must end in .onnx, got "),
        (["--format", "torch", "--out", "{}/a.onnx"], "--out: the name must end in .pt2, got "),
        (["--format", "torch", "--out", "{}/x.pt2", "--noise", "some"], "--noise: Expected one of"),
    ],
)
def test_what_cannot_be_exported_is_one_line(argv, told, model, cli, tmp_path):
    code, _, error = cli("export", "-m", model, *(word.format(tmp_path) for word in argv))
    assert code == 2
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_exist_is_one_line(cli, tmp_path):
    code, _, error = cli("export", "-m", tmp_path / "no.safetensors", "--format", "torch", "--out", tmp_path / "x.pt2")
    assert (code, error.count("\n")) == (2, 1)
    assert "no.safetensors" in error


def test_the_tolerance_in_the_help_is_that_of_the_code():
    assert _parser().get_defaults().tolerance == TOLERANCE


def test_a_page_on_a_machine_without_npm_says_what_to_do(model, cli, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, error = cli("export", "-m", model, "--format", "web", "--out", tmp_path / "page")
    assert (code, error.count("\n")) == (2, 1)
    assert "npm pack onnxruntime-web@" in error
    assert "--runtime" in error
    code, _, error = cli("export", "-m", model, "--format", "web", "--out", tmp_path / "page", "--runtime", "none.tgz")
    assert (code, error.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())


def test_a_target_that_cannot_be_written_is_one_line(model, cli, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = cli("export", "-m", model, "--format", "torch", "--out", tmp_path / "file" / "x.pt2")
    assert (code, error.count("\n")) == (1, 1)
    assert "cannot be written" in error
