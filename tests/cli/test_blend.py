"""``blend``, end to end on networks of toy size."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from capriccio.config import ImageShape
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, load_snapshot, save_snapshot


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Three files: a network, one trained on from it, and a stranger."""
    folder = tmp_path_factory.mktemp("networks")
    for name, seed, change in (("a", 0, 0.0), ("b", 0, 0.2), ("stranger", 1, 0.0)):
        torch.manual_seed(seed)
        generator = Generator(preset("tiny", ImageShape(height=16, width=16)).generator).eval().requires_grad_(False)
        for value in generator.parameters():
            value += change * torch.randn(value.shape)
        snapshot = Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(licence="none"))
        save_snapshot(folder / f"{name}.safetensors", snapshot)
    return folder


def test_a_blend_is_a_snapshot_that_other_commands_take(networks, cli, tmp_path):
    out, sheet = tmp_path / "blend.safetensors", tmp_path / "sheet.png"
    pair = networks / "a.safetensors", networks / "b.safetensors"
    code, told, _ = cli("blend", *pair, "--from", "8", "--out", out, "--sheet", sheet, "--seeds", "1,2", "--json")
    assert code == 0
    assert json.loads(told)["files"] == [str(out), str(sheet)]
    assert Image.open(sheet).size[1] > 2 * 96
    assert cli("generate", "-m", out, "--seeds", "1", "--out", tmp_path / "painted")[0] == 0
    code, told, _ = cli("info", out, "--json")
    assert json.loads(told)["card"]["blend"]["share_of_second"] == {"4": 0.0, "8": 1.0, "16": 1.0}


@pytest.mark.parametrize("how", [("--share", "0.5"), ("--shares", "4=0.5,8=0.5,16=0.5")])
def test_shares_can_be_given_at_once_or_by_level(how, networks, cli, tmp_path):
    pair = [networks / f"{name}.safetensors" for name in "ab"]
    code, told, _ = cli("blend", *pair, *how, "--out", tmp_path / "blend.safetensors")
    assert code == 0
    assert "16 px 0.5, mapping 0" in told
    weights = [
        load_snapshot(path).generator.synthesis.blocks["8"].conv1.weight
        for path in (*pair, tmp_path / "blend.safetensors")
    ]
    torch.testing.assert_close(weights[2], (weights[0] + weights[1]) / 2)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["a", "--from", "8"], "two networks are needed"),
        (["a", "b"], "with one of --from LEVEL"),
        (["a", "b", "--from", "8", "--share", "0.5"], "got --from and --share"),
        (["a", "b", "--from", "7"], "level 7 is not there"),
        (["a", "b", "--share", "2"], "must lie in 0..1, got 2"),
        (["a", "b", "--shares", "4=0,8"], "got '8'"),
        (["a", "b", "--shares", "4=0,4=1"], "level 4 is named twice"),
        (["a", "b", "--shares", "4=0,8=1"], "shares are those of levels 4, 8, 16"),
        (["a", "b", "--shares", "4=0,8=0,16=nan"], "got nan"),
        (["a", "stranger", "--from", "8"], "no relatives: weights of level"),
        (["a", "a", "--from", "8"], "both are the same network"),
        (["a", "b", "--from", "8", "--out", "x.pt"], "a snapshot ends in .safetensors"),
        (["a", "b", "--from", "8", "--sheet", "x.tif"], "'.tif'"),
        (["a", "b", "--from", "8", "--sheet", "x.png", "--psi", "11"], "--psi must lie in -10..10"),
        (["a", "gone", "--from", "8"], "does not exist"),
    ],
)
def test_blends_that_cannot_be_are_one_line_and_write_nothing(argv, says, networks, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [networks / f"{word}.safetensors" if word in ("a", "b", "stranger", "gone") else word for word in argv]
    code, out, err = cli("blend", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_a_network_is_never_overwritten_by_its_blend(networks, cli):
    pair = [networks / f"{name}.safetensors" for name in "ab"]
    before = pair[1].read_bytes()
    code, _, err = cli("blend", *pair, "--from", "8", "--out", pair[1])
    assert code == 2
    assert "is one of the two networks" in err
    assert pair[1].read_bytes() == before
