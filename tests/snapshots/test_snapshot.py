"""Snapshots: whole, canonical, self-describing, and refused in words when they are not."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape, MappingConfig, to_dict
from capriccio.errors import SnapshotError
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import (
    FORMAT_VERSION,
    Snapshot,
    SnapshotFacts,
    load_snapshot,
    model_hash,
    read_header,
    save_snapshot,
    snapshot_bytes,
)

SHAPE = ImageShape(channels=3, height=16, width=24)
FACTS = SnapshotFacts(nimg=2500, pl_mean=0.1, data={"name": "möwen", "count": 7}, w_statistics={"w_std": 1 / 3})


@pytest.fixture
def snapshot() -> Snapshot:
    torch.manual_seed(0)
    mapping = MappingConfig(num_layers=2)
    plan = GeneratorConfig(z_dim=8, w_dim=8, shape=SHAPE, channel_base=64, channel_max=8, mapping=mapping)
    judge = DiscriminatorConfig(shape=SHAPE, channel_base=64, channel_max=8)
    return Snapshot(generator=Generator(plan), discriminator=Discriminator(judge), facts=FACTS)


@pytest.fixture
def path(snapshot, tmp_path) -> Path:
    path = tmp_path / "snapshot-000002.safetensors"
    save_snapshot(path, snapshot)
    return path


def rewritten(path: Path, *, header=None, tensors=None) -> Path:
    """Write the snapshot beside with another header or other tensors."""
    with safe_open(path, "pt") as file:
        old_header = json.loads(file.metadata()["capriccio"])
        old = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = path.with_name("changed.safetensors")
    save_file(old if tensors is None else tensors(old), changed,
              {"capriccio": json.dumps(old_header if header is None else header(old_header))})  # fmt: skip
    return changed


def test_a_snapshot_comes_back_as_it_was(snapshot, path):
    loaded = load_snapshot(path)
    assert loaded.facts == FACTS
    for before, after in ((snapshot.generator, loaded.generator), (snapshot.discriminator, loaded.discriminator)):
        assert before.config == after.config
        assert not after.training
        for name, tensor in before.state_dict().items():
            assert torch.equal(tensor, after.state_dict()[name]), name


def test_without_discriminator_it_is_slim(snapshot, path, tmp_path):
    slim = tmp_path / "slim.safetensors"
    save_snapshot(slim, replace(snapshot, discriminator=None))
    assert load_snapshot(slim).discriminator is None
    assert slim.stat().st_size < path.stat().st_size


def test_the_same_network_gives_the_same_bytes(snapshot, path):
    assert snapshot_bytes(snapshot) == snapshot_bytes(snapshot) == path.read_bytes()
    save_snapshot(path, load_snapshot(path))
    assert path.read_bytes() == snapshot_bytes(snapshot)


def test_the_header_is_one_entry_of_canonical_json(path):
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["capriccio"]
    header = json.loads(metadata["capriccio"])
    assert json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True) == metadata["capriccio"]
    assert read_header(path) == header
    assert header["format_version"] <= FORMAT_VERSION
    assert header["generator"]["shape"] == {"channels": 3, "height": 16, "width": 24}
    words = " ".join(header)
    assert not any(word in words for word in ("time", "path", "host", "date", "seconds"))


def test_half_precision_halves_the_file_and_changes_rounding_only(snapshot, path, tmp_path):
    half = tmp_path / "travelling.safetensors"
    save_snapshot(half, snapshot, "float16")
    assert half.stat().st_size < 0.6 * path.stat().st_size
    loaded = load_snapshot(half)
    assert all(t.dtype == torch.float32 for t in loaded.generator.state_dict().values())
    for name, tensor in snapshot.generator.state_dict().items():
        torch.testing.assert_close(loaded.generator.state_dict()[name], tensor, rtol=2**-10, atol=1e-7)


def test_numbers_too_large_for_half_precision_keep_their_own(snapshot, tmp_path):
    with torch.no_grad():
        snapshot.generator.mapping.layers[0].weight[0, 0] = 1e6
    half = tmp_path / "travelling.safetensors"
    save_snapshot(half, snapshot, "float16")
    assert float(load_snapshot(half).generator.mapping.layers[0].weight[0, 0]) == 1e6


# ---- the hash


def test_packing_does_not_change_the_hash_and_training_does(snapshot, path, tmp_path):
    first = model_hash(snapshot.generator)
    again = tmp_path / "again.safetensors"
    save_snapshot(again, replace(load_snapshot(path), discriminator=None, facts=SnapshotFacts(calibration={"a": 1})))
    assert model_hash(load_snapshot(again).generator) == first
    assert len(first) == 16
    with torch.no_grad():
        snapshot.generator.synthesis.blocks["4"].conv1.bias[0] += 1e-6
    assert model_hash(snapshot.generator) != first


def test_the_hash_tells_configurations_apart_and_ignores_defaults(snapshot, monkeypatch):
    generator = snapshot.generator
    first = model_hash(generator)
    generator.config = replace(generator.config, num_fp16_res=2)
    assert model_hash(generator) != first
    generator.config = replace(generator.config, num_fp16_res=4)

    def with_a_later_setting(config):
        return to_dict(config) | {"invented_later": "default"}

    monkeypatch.setattr("capriccio.snapshots.snapshot.to_dict", with_a_later_setting)
    assert model_hash(generator) == first


# ---- what cannot be read


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(SnapshotError, match=r"nowhere\.safetensors' does not exist"):
        load_snapshot(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.999], ids=str)
def test_a_truncated_file_is_told(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(SnapshotError, match="is not a snapshot, or it is truncated"):
        load_snapshot(path)


def test_a_folder_and_a_foreign_file_are_told(path, tmp_path):
    with pytest.raises(SnapshotError, match="is not a snapshot"):
        load_snapshot(tmp_path)
    path.write_bytes(b"PK\x03\x04 some archive of another program")
    with pytest.raises(SnapshotError, match="is not a snapshot"):
        load_snapshot(path)


def test_safetensors_of_others_are_told(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    for metadata in (None, {"format": "pt"}, {"capriccio": "{"}, {"capriccio": "[]"}, {"capriccio": "{}"}):
        save_file({"x": torch.zeros(2)}, foreign, metadata)
        with pytest.raises(SnapshotError, match="Capriccio did not write it"):
            load_snapshot(foreign)


def test_a_later_format_is_refused_with_a_remedy(path):
    later = rewritten(path, header=lambda h: h | {"format_version": FORMAT_VERSION + 1})
    with pytest.raises(SnapshotError, match=rf"format version {FORMAT_VERSION + 1}.*Update capriccio"):
        load_snapshot(later)


def test_a_header_that_describes_no_network_is_told(path):
    for header in (
        lambda h: h | {"generator": h["generator"] | {"z_dim": -1}},
        lambda h: h | {"generator": h["generator"] | {"zz_dim": 1}},
        lambda h: {k: v for k, v in h.items() if k != "discriminator"},
        lambda h: h | {"card": [1]},
        lambda h: h | {"nimg": "many"},
    ):
        with pytest.raises(SnapshotError, match="its header does not describe a network"):
            load_snapshot(rewritten(path, header=header))


@pytest.mark.parametrize("claim", [
    {"z_dim": 10**9}, {"channel_base": 10**18, "channel_max": 10**18},
    {"mapping": {"num_layers": 10**9}},
    *({"shape": {"channels": 3, "height": 4 << n, "width": 4 << n}, "channel_base": 4 << n} for n in (20, 40, 3000)),
], ids=["latent", "maps", "layers", "size", "overflow", "enormous"])  # fmt: skip
def test_a_header_that_claims_too_much_costs_neither_memory_nor_time(path, claim):
    claims = rewritten(path, header=lambda h: h | {"generator": h["generator"] | claim})
    started = time.process_time()
    with pytest.raises(SnapshotError, match=r"its generator (does not have|has fewer|cannot be built)"):
        load_snapshot(claims)
    assert time.process_time() - started < 5


def test_missing_tensors_are_listed(path):
    name = "generator.synthesis.blocks.8.conv0.bias"
    less = rewritten(path, tensors=lambda t: {k: v for k, v in t.items() if k != name})
    with pytest.raises(SnapshotError, match=rf"does not have the tensors.*{name} \[8\] is missing"):
        load_snapshot(less)


def test_tensors_of_another_shape_are_listed(path):
    name = "discriminator.epilogue.out.bias"
    other = rewritten(path, tensors=lambda t: t | {name: torch.zeros(7)})
    with pytest.raises(SnapshotError, match=rf"{name} is \[7\] instead of \[1\]"):
        load_snapshot(other)


def test_tensors_that_are_too_many_are_listed_and_many_are_counted(path):
    more = rewritten(path, tensors=lambda t: t | {f"extra{i}": torch.zeros(1) for i in range(10)})
    with pytest.raises(SnapshotError, match=r"no part of the network wants: extra0, .* and 2 more"):
        load_snapshot(more)
