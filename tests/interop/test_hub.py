"""A network to the hub's files and back; every way in which the hub cannot be reached is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import capriccio
from capriccio.errors import JobError, SnapshotError, StorageError, UsageError
from capriccio.interop.hub import WEIGHTS_FILE, check_repo, is_hub_id, push_folder, write_hub_folder
from capriccio.interop.model_card import model_card
from capriccio.networks.discriminator import Discriminator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, model_hash, save_snapshot
from tests.interop.test_export import CONDITIONAL, TINY, network
from tests.networks.conftest import discriminator_config

FACTS = SnapshotFacts(
    nimg=200_000,
    licence="CC0-1.0",
    software="capriccio 0.1.0",
    data={"name": "toys | bricks", "count": 1234, "heldout": ["a", "b"], "licence": "CC-BY-4.0", "mirror": True},
    card={"title": "Toys", "description": "Bricks of many colours.", "limits": "It knows bricks."},
)


def snapshot() -> Snapshot:
    discriminator = Discriminator(discriminator_config(TINY.shape)).eval().requires_grad_(False)
    return replace(network(), discriminator=discriminator, facts=FACTS)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub's client with an empty cache and no way out."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_model_saved_for_the_hub_comes_back_as_it_was(tmp_path, hub):
    from capriccio.interop.hub_model import HubModel

    before = snapshot()
    HubModel(before).save_pretrained(tmp_path / "toys")
    assert {path.name for path in (tmp_path / "toys").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    after = HubModel.from_pretrained(tmp_path / "toys")
    assert after.facts == FACTS
    assert after.state_dict().keys() == HubModel(before).state_dict().keys()
    for name, tensor in HubModel(before).state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    z = torch.randn(2, 8)
    torch.testing.assert_close(after(z, psi=0.5), before.generator(z, psi=0.5))
    config = json.loads((tmp_path / "toys" / "config.json").read_text())
    assert config["generator"]["shape"] == {"channels": 3, "height": 16, "width": 24}
    assert "Bricks of many colours." in (tmp_path / "toys" / "README.md").read_text()


def test_the_folder_is_a_model_that_capriccio_loads(tmp_path):
    written = write_hub_folder(snapshot(), tmp_path / "toys", repo="anna/toys", samples=(b"sheet", "Two seeds."))
    assert {path.name for path in written.files} == {path.name for path in (tmp_path / "toys").iterdir()}
    assert written.difference is None
    model = capriccio.load(tmp_path / "toys", device="cpu")
    assert model.model_hash == model_hash(snapshot().generator)
    assert model.discriminator is not None


def test_half_precision_says_what_it_changes(tmp_path):
    strong = snapshot()
    strong.generator.synthesis.blocks["16"].to_rgb.weight *= 30
    written = write_hub_folder(strong, tmp_path / "toys", repo="anna/toys", dtype="float16")
    assert written.difference is not None
    assert 0 < written.difference < 20
    assert f"at most {written.difference:.2g} of 255" in (tmp_path / "toys" / "README.md").read_text()


def test_the_card_tells_the_facts_and_what_is_not_known():
    numbers = [
        {"metric": "kid", "values": {"kid": 0.0123}, "spread": {"kid": 0.001}, "caveat": "random network | own",
         "card": {"metric": "kid", "count": 5000, "network": "random", "psi": 1.0, "data_hash": None}},
        {"metric": "fd", "values": {"fd": 4.5},
         "card": {"metric": "fd", "count": 5000, "network": "random", "psi": 1.0}},
    ]  # fmt: skip
    card = model_card(snapshot(), repo="anna/toys", samples="Not selected.", numbers=numbers)
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "cc0-1.0"
    for fact in (
        "# Toys", "24×16 (width × height)", "200 thousand images", "1,234 pictures", "toys \\| bricks", "CC-BY-4.0",
        "It knows bricks.", "| kid | 0.0123 ± 0.001 | random network \\| own | 1 |", "| fd | 4.5 |  | 1 |",
        "1. count 5000; network random; psi 1.0", "capriccio generate --model anna/toys", "![Samples](samples.webp)",
    ):  # fmt: skip
        assert fact in text
    assert "2. count" not in text
    bare = model_card(network(CONDITIONAL), repo="anna/toys")
    assert "None were measured" in bare
    assert "Not stated by its trainer" in bare
    assert "--class 0" in bare
    assert "![" not in bare


def test_a_licence_the_hub_has_no_word_for_is_named():
    licence = "Evaluation only; see LICENSE beside the weights"
    own = replace(snapshot(), facts=replace(FACTS, licence=licence))
    card = model_card(own, repo="a/b")
    header = yaml.safe_load(card.split("---\n")[1])
    assert (header["license"], header["license_name"]) == ("other", "evaluation-only")  # the hub wants one word
    assert f"Licence of the weights: {licence}." in card


def test_what_a_foreign_file_does_not_say_is_not_stated():
    foreign = replace(snapshot(), facts=replace(
        FACTS, nimg=0, data={"resolution": 16, "xflip": True}, card={"converted_from": "StyleGAN2-ADA (PyTorch)"}
    ))  # fmt: skip
    card = model_card(foreign, repo="a/b")
    for line in (
        "trained for | not stated", "set aside before training | not stated", "mirrored copies added | yes",
    ):  # fmt: skip
        assert line in card


@pytest.mark.parametrize("name", ["anna/toys", "a-b/c.d", "anna/toys@main", "anna/toys@refs/pr/1"])
def test_names_of_the_hub(name):
    assert is_hub_id(name)


@pytest.mark.parametrize(
    "name", ["toys", "/anna/toys", "anna/toys/x", "../toys", "anna/toys.safetensors", "anna/toys.pkl", "anna/", ""]
)
def test_names_that_are_none(name):
    assert not is_hub_id(name)
    with pytest.raises(UsageError, match="OWNER/NAME"):
        check_repo(name)


def test_a_name_of_the_hub_loads_from_its_cache_without_a_network(hub):
    commit = "0" * 40
    home = hub / "models--anna--toys"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    save_snapshot(home / "snapshots" / commit / WEIGHTS_FILE, snapshot())
    for name in ("anna/toys", f"anna/toys@{commit}"):
        assert capriccio.load(name, device="cpu").model_hash == model_hash(snapshot().generator)


def test_a_name_that_cannot_be_fetched_is_one_line(hub):
    with pytest.raises(SnapshotError, match=r"no file or folder 'anna/other', and the hub cannot be asked") as caught:
        capriccio.load("anna/other", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_mistyped_path_is_no_question_to_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(SnapshotError, match=r"'runs/mine' (does not exist|cannot be read)"):
        capriccio.load("runs/mine", device="cpu")


def test_without_the_extra_the_message_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"no file or folder 'anna/toys'.*pip install 'capriccio\[hub\]'"):
        capriccio.load("anna/toys", device="cpu")
    written = write_hub_folder(snapshot(), tmp_path / "toys", repo="anna/toys")
    with pytest.raises(UsageError, match=r"pip install 'capriccio\[hub\]'"):
        push_folder(written, "anna/toys")


def test_pushing_without_a_network_is_one_line(hub, tmp_path):
    written = write_hub_folder(snapshot(), tmp_path / "toys", repo="anna/toys")
    with pytest.raises(JobError, match="is this machine offline") as caught:
        push_folder(written, "anna/toys")
    assert "\n" not in str(caught.value)


def test_a_refused_connection_is_told_in_one_line_too(tmp_path):
    pytest.importorskip("huggingface_hub")
    save_snapshot(tmp_path / "toys.safetensors", snapshot())
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_TOKEN": "none"}
    command = [sys.executable, "-m", "capriccio", "push", "-m", str(tmp_path / "toys.safetensors")]
    done = subprocess.run(
        [*command, "--to", "anna/toys"], env={**os.environ, **nowhere}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("capriccio: error: the hub cannot be reached, is this machine offline? Nothing was")
    assert done.stderr.count("\n") == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="holds other files"):
        write_hub_folder(snapshot(), tmp_path, repo="anna/toys")
    with pytest.raises(UsageError, match="is a file"):
        write_hub_folder(snapshot(), tmp_path / "thesis.txt", repo="anna/toys")
    with pytest.raises(StorageError):
        write_hub_folder(snapshot(), tmp_path / "thesis.txt" / "model", repo="anna/toys")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["thesis.txt"]
