"""Checkpoints: everything comes back bit for bit, nothing sound is lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from capriccio.config import RunConfig
from capriccio.errors import RunError, StorageError
from capriccio.training import checkpoint
from capriccio.training.checkpoint import checkpoints, load_newest, remove_old, save_checkpoint
from capriccio.training.optimizer import parameters_of
from capriccio.training.state import TrainingState, new_state
from tests.training.tiny import CPU, assert_same, run_config, tensors_of, trained_state

CONFIG = run_config()
POSITION = {"step": torch.tensor(12), "rng_keys": torch.tensor([1, 2, 4_000_000_000], dtype=torch.uint32)}


@pytest.fixture(scope="module")
def state() -> TrainingState:
    return trained_state(CONFIG, 3)


def saved(folder: Path, state: TrainingState, nimg: int) -> Path:
    return save_checkpoint(folder, replace(state, nimg=nimg), POSITION, {"tick": 7})


def loaded(folder: Path, config: RunConfig = CONFIG) -> tuple[TrainingState, list[str]]:
    told: list[str] = []
    fresh = new_state(replace(config, seed=9), CPU)
    assert load_newest(folder, fresh, told.append) is not None
    return fresh, told


def test_everything_comes_back(state, tmp_path):
    state = replace(state, salt=1, seconds=1.5, warm_start_nimg=4)
    save_checkpoint(tmp_path, state, POSITION, {"tick": 7})
    fresh = new_state(replace(CONFIG, seed=9), CPU)
    position, progress = load_newest(tmp_path, fresh, pytest.fail)
    assert_same(tensors_of(fresh), tensors_of(state))
    assert_same(position, POSITION)
    assert progress["tick"] == 7
    for name in ("nimg", "iteration", "salt", "seconds", "warm_start_nimg", "fp32_until_nimg"):
        assert getattr(fresh, name) == getattr(state, name)


def test_the_next_steps_are_those_of_the_state_that_was_saved(state, tmp_path):
    save_checkpoint(tmp_path, state, POSITION, {})
    fresh, _ = loaded(tmp_path)
    first = tensors_of(trained_state(CONFIG, 5, state=fresh))
    assert_same(first, tensors_of(trained_state(CONFIG, 8)))


def test_moments_lie_in_memory_as_their_parameters_do(state, tmp_path):
    with torch.no_grad():  # whatever layout the networks have, some parameters shall have another than row by row
        turned = replace(state)
        for p in turned.generator.parameters():
            if p.ndim == 4:
                p.data = p.data.contiguous(memory_format=torch.channels_last)
    save_checkpoint(tmp_path, turned, POSITION, {})
    fresh = new_state(CONFIG, CPU)
    for p in fresh.generator.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)
    load_newest(tmp_path, fresh, pytest.fail)
    for p in parameters_of(fresh.generator_optimizer):
        moments = fresh.generator_optimizer.state[p]
        assert moments["exp_avg"].stride() == moments["exp_avg_sq"].stride() == p.stride()


def test_the_newest_sound_one_is_taken_and_damage_is_told(state, tmp_path):
    saved(tmp_path, state, 1000)
    newest = saved(tmp_path, state, 2000)
    for damage in (
        lambda: (newest / "optimizers.safetensors").write_bytes(b""),
        lambda: (newest / "manifest.json").write_text("{}"),
        lambda: (newest / "manifest.json").unlink(),
        lambda: shutil.rmtree(newest) or newest.mkdir(),
    ):
        damage()
        fresh, told = loaded(tmp_path)
        assert fresh.nimg == 1000
        assert len(told) == 1
        assert told[0].startswith("'checkpoint-000002' is damaged")


def test_without_any_there_is_nothing_to_load(state, tmp_path):
    assert load_newest(tmp_path / "none", new_state(CONFIG, CPU), pytest.fail) is None


def test_other_networks_are_refused(state, tmp_path):
    saved(tmp_path, state, 1000)
    with pytest.raises(RunError, match=r"other networks \(generator: mapping.layers.0.weight.*settings it was started"):
        loaded(tmp_path, replace(CONFIG, generator=replace(CONFIG.generator, z_dim=4)))


def test_a_later_format_is_refused(state, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", checkpoint.FORMAT_VERSION + 1)
    saved(tmp_path, state, 1000)
    monkeypatch.undo()
    with pytest.raises(RunError, match="later version of capriccio"):
        loaded(tmp_path)


def test_one_of_the_same_kimg_is_replaced(state, tmp_path):
    saved(tmp_path, state, 1000)
    saved(tmp_path, state, 1900)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]
    assert loaded(tmp_path)[0].nimg == 1900


@pytest.mark.parametrize("step", range(4))
def test_wherever_writing_stops_a_sound_one_remains(state, tmp_path, monkeypatch, step):
    """Stop at each of the renames and flushes that replace a checkpoint of the same kimg."""
    saved(tmp_path, state, 1000)
    calls = []

    def stopping(function):
        def run(*args):
            calls.append(None)
            if len(calls) > step:
                raise KeyboardInterrupt
            return function(*args)

        return run

    monkeypatch.setattr(Path, "rename", stopping(Path.rename))
    monkeypatch.setattr(checkpoint, "sync_folder", stopping(checkpoint.sync_folder))
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, state, 1900)
    monkeypatch.undo()
    assert loaded(tmp_path)[0].nimg == (1900 if step == 3 else 1000)
    newest = saved(tmp_path, state, 1950)
    remove_old(tmp_path, 1, newest)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]
    assert loaded(tmp_path)[0].nimg == 1950


def test_the_newest_are_kept(state, tmp_path):
    paths = [saved(tmp_path, state, n) for n in (1000, 2000, 3000)]
    remove_old(tmp_path, 2, paths[-1])
    assert checkpoints(tmp_path) == paths[1:]


def test_the_one_of_the_best_snapshot_is_kept_too(state, tmp_path):
    paths = [saved(tmp_path, state, n) for n in (1000, 2000, 3000, 4000)]
    remove_old(tmp_path, 1, paths[-1], best_nimg=2000)
    assert checkpoints(tmp_path) == [paths[1], paths[3]]


def test_damaged_ones_of_a_future_that_was_given_up_do_not_push_out_sound_ones(state, tmp_path):
    now, future = saved(tmp_path, state, 1000), saved(tmp_path, state, 5000)
    (future / "networks.safetensors").write_bytes(b"damaged")
    remove_old(tmp_path, 1, now)
    assert checkpoints(tmp_path) == [now]


def test_without_room_the_old_one_stays(state, tmp_path, monkeypatch):
    saved(tmp_path, state, 1000)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(StorageError, match=r"not enough disk for a checkpoint: .* before it is kept"):
        saved(tmp_path, state, 1900)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]
    assert loaded(tmp_path)[0].nimg == 1000


def test_a_disk_that_fills_up_while_writing_leaves_the_old_one(state, tmp_path, monkeypatch):
    saved(tmp_path, state, 1000)

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_flushed", full)
    with pytest.raises(StorageError, match="No space left on device"):
        saved(tmp_path, state, 1900)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]


def test_the_manifest_has_a_checksum_of_every_file(state, tmp_path):
    path = saved(tmp_path, state, 1000)
    manifest = json.loads((path / "manifest.json").read_text())
    assert {p.name for p in path.iterdir()} == manifest["sha256"].keys() | {"manifest.json"}
