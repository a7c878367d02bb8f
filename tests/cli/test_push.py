"""``capriccio push`` to a folder, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from capriccio.config import ImageShape
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.provenance import read_provenance
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, load_snapshot, save_snapshot


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An untrained conditional network of 8×16 pictures."""
    path = tmp_path_factory.mktemp("model") / "snapshot-000001.safetensors"
    torch.manual_seed(0)
    generator = Generator(preset("tiny", ImageShape(height=8, width=16), c_dim=3).generator).eval()
    save_snapshot(path, Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(licence="none")))
    return path


def test_the_folder_holds_card_samples_and_a_snapshot(model, cli, tmp_path):
    out = tmp_path / "toys"
    code, told, _ = cli("push", "-m", model, "--out", out, "--dtype", "float16", "--slim", "--json")
    assert code == 0
    report = json.loads(told)
    assert set(report["files"]) == {str(path) for path in out.iterdir()}
    assert report["address"] is None
    assert report["difference_grey_levels"] >= 0
    assert load_snapshot(out / "model.safetensors").generator.config.c_dim == 3
    assert Image.open(out / "samples.webp").size[0] >= 8 * 16
    record = read_provenance(out / "samples.webp")
    assert record is not None
    assert record.truncation_psi == 0.7
    assert "classes in turn" in (out / "README.md").read_text()


def test_numbers_of_another_network_are_refused(model, cli, tmp_path):
    numbers = {"format_version": 1, "subject": "x", "subject_hash": "0" * 16, "results": []}
    (tmp_path / "numbers.json").write_text(json.dumps(numbers))
    code, _, error = cli("push", "-m", model, "--out", tmp_path / "out", "--metrics", f"[{tmp_path / 'numbers.json'}]")
    assert code == 2
    assert "measured network 0000000000000000" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "--to OWNER/NAME says where"),
        (["--to", "toys"], "OWNER/NAME, such as"),
        (["--to", "anna/toys@main"], "OWNER/NAME, such as"),
        (["--out", "{}/x", "--dtype", "int8"], "--dtype: Expected one of"),
        (["--out", "{}/x", "--metrics", "[{}/none.json]"], "there is no file"),
    ],
)
def test_what_cannot_be_pushed_is_one_line(argv, told, model, cli, tmp_path):
    code, _, error = cli("push", "-m", model, *(word.format(tmp_path) for word in argv))
    assert code == 2
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
