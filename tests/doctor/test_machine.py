from dataclasses import replace

import pytest

from capriccio.doctor.examination import examine
from capriccio.doctor.record import read_run
from tests.doctor.runs import GIB, settings, write_run

MIB = 2**20


def found_in(folder, *, free=1000 * GIB):
    record = read_run(folder)
    record.free_bytes = lambda: free
    return examine(record)


def with_files(folder, *, snapshots=3, mib=2):
    """Add a checkpoint and snapshots of ``mib`` MiB each."""
    checkpoint = folder / "checkpoints" / "checkpoint-000160"
    checkpoint.mkdir(parents=True)
    (checkpoint / "networks.safetensors").write_bytes(bytes(mib * MIB))
    (folder / "snapshots").mkdir()
    for i in range(snapshots):
        (folder / "snapshots" / f"snapshot-{50 * i:06d}.safetensors").write_bytes(bytes(mib * MIB))
    return folder


# ---- loader


@pytest.mark.parametrize(("milliseconds", "severity"), [(60.0, "warning"), (150.0, "serious")])
def test_long_waits_for_pictures_are_found(tmp_path, milliseconds, severity):
    config = settings()
    config = replace(config, data=replace(config.data, cache="none"))
    finding = found_in(write_run(tmp_path, config, **{"Timing/data": milliseconds}))["loader-bound"]
    assert finding.severity == severity
    assert f"({milliseconds * 250 / 1000 / 50:.0%})" in finding.evidence
    assert "--cache raw" in finding.advice


def test_short_waits_for_pictures_are_healthy(tmp_path):
    assert found_in(write_run(tmp_path, **{"Timing/data": 5.0})) == {}


# ---- disk


def test_a_disk_without_room_for_a_checkpoint_is_full(tmp_path):
    found = found_in(with_files(write_run(tmp_path)), free=MIB)
    assert found["disk-filling"].severity == "serious"
    assert "1.0 MiB are free" in found["disk-filling"].evidence


def test_snapshots_to_come_that_do_not_fit_are_announced(tmp_path):
    config = settings()
    config = replace(config, saving=replace(config.saving, keep_snapshots=None, snapshot_kimg=10, snapshot_minutes=600))
    found = found_in(with_files(write_run(tmp_path, config)), free=20 * MIB)
    assert found["disk-filling"].severity == "warning"
    assert "840 kimg to come need about 170." in found["disk-filling"].evidence  # 84 snapshots and a checkpoint


def test_snapshots_that_replace_old_ones_need_no_more_room(tmp_path):
    config = settings()
    config = replace(config, saving=replace(config.saving, keep_snapshots=3, snapshot_kimg=10))
    assert found_in(with_files(write_run(tmp_path, config)), free=20 * MIB) == {}


def test_a_disk_budget_bounds_what_is_needed(tmp_path):
    config = settings()
    saving = replace(config.saving, keep_snapshots=None, snapshot_kimg=10, disk_budget_gb=0.012)
    assert found_in(with_files(write_run(tmp_path, replace(config, saving=saving))), free=20 * MIB) == {}


def test_a_finished_run_needs_no_room(tmp_path):
    folder = with_files(write_run(tmp_path, replace(settings(), total_kimg=160.0)))
    assert found_in(folder, free=0) == {}


# ---- number of pictures


def test_a_few_hundred_pictures_for_a_long_run_are_too_few(tmp_path):
    finding = found_in(write_run(tmp_path, pictures=300))["too-few-pictures"]
    assert finding.severity == "serious"
    assert "300 pictures will be shown 3,333 times each" in finding.evidence
    assert "--augment ada" in finding.advice


def test_a_few_thousand_pictures_are_a_warning(tmp_path):
    assert found_in(write_run(tmp_path, pictures=3000))["too-few-pictures"].severity == "warning"


@pytest.mark.parametrize("change", ["short", "mirrored", "augmented", "transferred"])
def test_three_thousand_pictures_suffice_when(tmp_path, change):
    config, command = settings(), []
    if change == "short":
        config = replace(config, total_kimg=200.0)
    if change == "mirrored":
        config = replace(config, data=replace(config.data, mirror=True))
    if change == "augmented":
        config = replace(config, augment=replace(config.augment, mode="ada"))
    if change == "transferred":
        command = ["--init-from", "other.safetensors"]
    assert found_in(write_run(tmp_path, config, pictures=3000, command=command)) == {}
