"""A run folder belongs to one run and one session at a time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from capriccio.config import SavingConfig, to_dict
from capriccio.errors import RunError
from capriccio.training.run_folder import RunFolder
from tests.training.tiny import run_config

CONFIG = run_config("pictures.zip")


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.open(CONFIG, resume=False)
    return folder


def test_a_new_folder_is_made_with_its_configuration(folder):
    assert yaml.safe_load(folder.config.read_text()) == to_dict(CONFIG)
    assert folder.checkpoints.is_dir()
    assert folder.snapshots.is_dir()
    assert folder.samples.is_dir()


def test_an_empty_folder_is_taken_and_a_foreign_one_refused(tmp_path):
    RunFolder(tmp_path).open(CONFIG, resume=False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="is not empty and holds no run"):
        RunFolder(foreign).open(CONFIG, resume=True)
    assert [p.name for p in foreign.iterdir()] == ["thesis.txt"]


def test_what_does_not_decide_what_is_learnt_may_change(folder):
    other = replace(
        CONFIG, total_kimg=9.0, precision="bf16", compile=True, batch_per_round=2,
        saving=replace(CONFIG.saving, keep_checkpoints=5), data=replace(CONFIG.data, path="moved.zip", cache="none"),
    )  # fmt: skip
    folder.snapshot(0).touch()
    folder.open(other, resume=True)


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch": 8}, {"loss": replace(CONFIG.loss, r1_gamma=9.0)},
                                    {"data": replace(CONFIG.data, mirror=True)}], ids=str)  # fmt: skip
def test_what_decides_must_stay_once_something_was_saved(folder, change):
    folder.open(replace(CONFIG, **change), resume=True)  # a start that failed binds nobody
    folder.snapshot(0).touch()
    with pytest.raises(RunError, match=rf"holds another run .its settings differ: {next(iter(change))}\S* is "):
        folder.open(replace(CONFIG, **change), resume=True)


def test_another_run_is_told_by_its_settings_and_ours(folder):
    folder.snapshot(0).touch()
    other = replace(CONFIG, batch=2 * CONFIG.batch, loss=replace(CONFIG.loss, r1_gamma=9.0))
    told = rf"batch is {CONFIG.batch} there and {2 * CONFIG.batch} now, loss.r1_gamma is .* there and 9.0 now"
    with pytest.raises(RunError, match=told):
        folder.open(other, resume=True)


def test_a_run_older_than_a_setting_goes_on(folder):
    old = to_dict(CONFIG)
    del old["generator"]["demodulate"]
    del old["saving"]["travelling"]
    folder.config.write_text(yaml.safe_dump(old))
    folder.snapshot(0).touch()
    folder.open(CONFIG, resume=True)


def test_a_damaged_configuration_is_told(folder):
    folder.config.write_text("][")
    folder.snapshot(0).touch()
    with pytest.raises(RunError, match="cannot be read; restore it"):
        folder.open(CONFIG, resume=True)


def test_sessions_add_up_and_damaged_notes_are_kept_aside(folder):
    folder.note_session({"resumed_at_nimg": 0})
    folder.note_session({"resumed_at_nimg": 8})
    path = folder.path / "environment.json"
    assert [s["resumed_at_nimg"] for s in json.loads(path.read_text())["sessions"]] == [0, 8]
    path.write_text("{")
    folder.note_session({"resumed_at_nimg": 12})
    assert [s["resumed_at_nimg"] for s in json.loads(path.read_text())["sessions"]] == [12]
    assert (folder.path / "environment.damaged").read_text() == "{"


def test_two_claims_exclude_each_other_and_end(folder):
    with folder.claimed(), pytest.raises(RunError, match="another process is training"), folder.claimed():
        pass
    with folder.claimed():
        pass


@pytest.mark.parametrize(
    ("saving", "kept"),
    [
        (SavingConfig(keep_snapshots=None), [1, 2, 3, 4]),
        (SavingConfig(keep_snapshots=2), [3, 4]),
        (SavingConfig(keep_snapshots=None, disk_budget_gb=3e-6), [2, 3, 4]),
        (SavingConfig(keep_snapshots=None, disk_budget_gb=1e-9), [4]),
    ],
    ids=["all", "two", "budget", "no room"],
)
def test_the_oldest_snapshots_make_room_and_the_newest_stays(saving, kept, folder):
    folder.config.unlink()
    for kimg in (1, 2, 3, 4):
        folder.snapshot(kimg * 1000).write_bytes(b"x" * 1000)
    removed = folder.prune_snapshots(saving)
    assert sorted(folder.snapshots.iterdir()) == [folder.snapshot(kimg * 1000) for kimg in kept]
    assert len(removed) == 4 - len(kept)


def test_a_later_snapshot_of_the_same_kimg_has_the_same_name(folder):
    assert folder.snapshot(2000) == folder.snapshot(2999)
    assert folder.snapshot(2_500_000).name == "snapshot-002500.safetensors"
