"""Whole runs of toy size: resuming, continuing, failing and recovering."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from capriccio.config import AugmentConfig, ImageShape, RunConfig, to_dict
from capriccio.errors import DivergedError, Interrupted, RunError, ShapeError, SnapshotError, StorageError, UsageError
from capriccio.snapshots.snapshot import load_snapshot, read_header, save_snapshot
from capriccio.training import losses, saving
from capriccio.training import session as session_module
from capriccio.training.iteration import Phases
from capriccio.training.train import train
from tests.training.tiny import ADA, run_config, write_archive


class Story(list[str]):
    """The lines a run told."""

    def __contains__(self, words: object) -> bool:
        return any(str(words) in line for line in self)


@pytest.fixture
def story() -> Story:
    return Story()


def ticks(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def stopped_at(nimg: int, config: RunConfig, run: Path, **options) -> None:
    """Train until ``nimg`` and leave a checkpoint there, as a run that was told to be shorter."""
    train(replace(config, total_kimg=nimg / 1000), run, echo=lambda line: None, **options)


# ---- a run


def test_a_run_leaves_everything_in_its_folder(archive, tmp_path, story):
    config = run_config(archive)
    last = train(config, tmp_path / "run", echo=story.append)
    run = tmp_path / "run"
    assert last == run / "snapshots" / "snapshot-000000.safetensors"
    assert load_snapshot(last).facts.nimg == 48
    assert yaml.safe_load((run / "config.yaml").read_text()) == to_dict(config)
    assert Image.open(run / "samples" / "reals.png").size == (18 * 16, 2 * 16)  # there are only 24
    assert Image.open(run / "samples" / "fakes-000000.png").size == (18 * 16, 10 * 16)
    assert (run / "log.txt").read_text().splitlines() == story
    assert [tick["nimg"] for tick in ticks(run)] == [4, 24, 44, 48]
    assert {"Loss/G/loss", "Loss/D/loss", "Loss/r1_penalty", "Loss/pl_penalty", "Loss/scores/real", "Loss/signs/fake",
            "Progress/kimg", "Timing/sec_per_kimg", "Timing/Gmain", "Resources/cpu_mem_gb"} <= ticks(run)[-1].keys() \
        | ticks(run)[0].keys()  # fmt: skip
    assert "Precision: fp32 (as asked)" in story
    assert "Augmentation: none." in story
    assert not [p for p in run.rglob("*") if p.name.endswith((".part", ".partial", ".replaced"))]
    session = json.loads((run / "environment.json").read_text())["sessions"][0]
    assert session["resumed_at_nimg"] == 0
    header = read_header(last)
    assert header["data"]["count"] == 24
    assert header["w_statistics"]["w_std"] > 0
    assert "licence of 'pictures'" in header["licence"]


@pytest.mark.parametrize(
    ("shape", "c_dim"),
    [
        (ImageShape(channels=1, height=16, width=16), 0),
        (ImageShape(channels=4, height=16, width=16), 0),
        (ImageShape(channels=3, height=32, width=48), 0),
        (ImageShape(channels=3, height=16, width=16), 3),
    ],
    ids=["grey", "RGBA", "32×48", "labels"],
)
def test_other_pictures_train_too(shape, c_dim, tmp_path, story):
    data = write_archive(tmp_path / "data.zip", shape, num_classes=c_dim)
    config = run_config(data, shape, c_dim=c_dim, total_kimg=0.012)
    snapshot = load_snapshot(train(config, tmp_path / "run", echo=story.append))
    assert snapshot.generator.config.shape == shape
    assert snapshot.generator.config.c_dim == c_dim
    sheet = Image.open(tmp_path / "run" / "samples" / "fakes-000000.png")
    assert sheet.mode == {1: "L", 3: "RGB", 4: "RGBA"}[shape.channels]
    assert sheet.width % shape.width == sheet.height % shape.height == 0
    assert ("labels of size 3" in story) == bool(c_dim)


def test_pictures_with_other_channels_than_the_networks_are_told(archive, tmp_path):
    config = run_config(archive, ImageShape(channels=1, height=16, width=16))
    with pytest.raises(ShapeError, match="have 3 channels, the run was set up for 1"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- augmentation


def test_adaptive_augmentation_tells_p_and_how_much_the_discriminator_overfits(archive, tmp_path, story):
    config = run_config(archive, total_kimg=0.1)
    config = replace(
        config, augment=replace(ADA, target=-1.0, cap=0.4), data=replace(config.data, holdout=6)
    )  # every sign counts as too many
    last = train(config, tmp_path / "run", echo=story.append)
    told = ticks(tmp_path / "run")
    assert [tick["Progress/augment"]["mean"] for tick in told[:2]] == pytest.approx([0.0, 0.24])
    assert told[-1]["Progress/augment"]["mean"] == 0.4
    assert told[-1]["Progress/augment_capped_kimg"]["mean"] == pytest.approx(0.06)
    assert read_header(last)["augment_p"] == 0.4
    for tick in told:
        assert tick["Progress/r_t"]["mean"] == tick["Loss/signs/real"]["mean"]
        assert tick["Loss/scores/heldout"]["num"] == 4
        assert abs(tick["Loss/signs/heldout"]["mean"]) <= 1
        assert tick["Progress/r_v"].keys() == {"num", "mean", "std"}
    assert "Augmentation: adaptive, p follows r_t to -1 and never exceeds 0.4 (0.1 kimg from 0 to 1); pipe bgc" in story
    assert sum("Warning: augmentation stands at its cap, p = 0.4" in line for line in story) == 1


def test_without_held_out_pictures_there_is_no_r_v(archive, tmp_path):
    train(run_config(archive, total_kimg=0.004), tmp_path / "run", echo=lambda line: None)
    assert ticks(tmp_path / "run")[0]["Progress/r_v"]["mean"] is None
    assert "Loss/scores/heldout" not in ticks(tmp_path / "run")[0]


@pytest.mark.parametrize("mode", ["fixed", "light"])
def test_p_may_be_constant(mode, archive, tmp_path):
    config = replace(run_config(archive, total_kimg=0.02), augment=AugmentConfig(mode=mode, pipe="bg", p=0.3))
    train(config, tmp_path / "run", echo=lambda line: None)
    expected = {"fixed": 0.3, "light": 1.0}[mode]
    assert [tick["Progress/augment"]["mean"] for tick in ticks(tmp_path / "run")] == [expected] * 2


# ---- resuming


@pytest.mark.parametrize("augment", [AugmentConfig(), ADA], ids=["plain", "adaptive"])
def test_a_resumed_run_ends_bit_identical_to_one_that_was_not_interrupted(augment, archive, tmp_path, story):
    config = replace(run_config(archive), augment=augment)
    whole = train(config, tmp_path / "whole", echo=lambda line: None)
    stopped_at(16, config, tmp_path / "parts")
    stopped_at(28, config, tmp_path / "parts", resume=True)
    parts = train(config, tmp_path / "parts", resume=True, echo=story.append)
    assert "Resumed at 0.0 kimg." in story
    assert parts.read_bytes() == whole.read_bytes()
    sessions = json.loads((tmp_path / "parts" / "environment.json").read_text())["sessions"]
    assert [session["resumed_at_nimg"] for session in sessions] == [0, 16, 28]
    assert (read_header(parts)["augment_p"] > 0) == (augment is ADA)


def test_a_run_interrupted_between_two_adjustments_of_p_is_no_different(archive, tmp_path):
    config = replace(run_config(archive), augment=replace(ADA, interval=4))
    whole = train(config, tmp_path / "whole", echo=lambda line: None)
    stopped_at(20, config, tmp_path / "parts")  # after 5 iterations: one has been counted since the adjustment
    parts = train(config, tmp_path / "parts", resume=True, echo=lambda line: None)
    assert parts.read_bytes() == whole.read_bytes()


def test_a_damaged_newest_checkpoint_is_passed_over_and_that_is_said(archive, tmp_path, story):
    config = run_config(archive)
    whole = train(config, tmp_path / "whole", echo=lambda line: None)
    run = tmp_path / "run"
    stopped_at(16, config, run)
    older = run / "checkpoints" / "checkpoint-000000"
    shutil.copytree(older, run / "kept")
    stopped_at(32, config, run, resume=True)
    newer = older.rename(run / "checkpoints" / "checkpoint-000001")  # as if a thousand images had passed
    manifest = json.loads((newer / "manifest.json").read_text())
    (newer / "manifest.json").write_text(json.dumps(manifest | {"nimg": 1032}))
    (run / "kept").rename(older)
    damaged = newer / "networks.safetensors"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    last = train(config, run, resume=True, echo=story.append)
    assert "'checkpoint-000001' is damaged (networks.safetensors does not match its checksum)" in story
    assert last.read_bytes() == whole.read_bytes()
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["checkpoint-000000"]


def test_when_no_checkpoint_is_sound_nothing_is_overwritten(archive, tmp_path):
    config = run_config(archive)
    stopped_at(8, config, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint-000000" / "manifest.json").write_text("[]")
    with pytest.raises(RunError, match="none of the 1 checkpoints"):
        train(config, tmp_path / "run", resume=True, echo=lambda line: None)


def test_a_checkpoint_of_the_first_format_goes_on(archive, tmp_path):
    config = run_config(archive)
    whole = train(config, tmp_path / "whole", echo=lambda line: None)
    run = tmp_path / "run"
    stopped_at(24, config, run)
    folder = run / "checkpoints" / "checkpoint-000000"
    progress = json.loads((folder / "progress.json").read_text())
    for name in ("data_hash", "memory_limit", "first_snapshot_done"):
        del progress[name]
    text = json.dumps(progress | {"format_version": 1, "round_size": 4, "snapshot_nimg": None})
    (folder / "progress.json").write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["progress.json"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert train(config, run, resume=True, echo=lambda line: None).read_bytes() == whole.read_bytes()


def test_another_run_is_refused_and_its_folder_stays_as_it_was(archive, tmp_path):
    config, run = run_config(archive), tmp_path / "run"
    stopped_at(8, config, run)

    def contents() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in run.rglob("*") if p.is_file() and "tfevents" not in p.name}

    before = contents()
    with pytest.raises(RunError, match="already holds a run; add --resume"):
        train(config, run)
    with pytest.raises(RunError, match="settings differ: seed is 0 there and 1 now"):
        train(replace(config, seed=1), run, resume=True)
    others = write_archive(tmp_path / "others.zip", count=23)
    with pytest.raises(RunError, match="a run on other pictures"):
        train(run_config(others), run, resume=True, echo=lambda line: None)
    after = contents()
    log = str(run / "log.txt")
    assert after.pop(log).startswith(before.pop(log))
    assert after == before


def test_pictures_may_move(archive, tmp_path):
    config, run = run_config(archive), tmp_path / "run"
    stopped_at(8, config, run)
    moved = shutil.copy(archive, tmp_path / archive.name)
    train(run_config(moved, total_kimg=0.012), run, resume=True, echo=lambda line: None)


def test_the_rate_of_the_first_tick_after_resuming_counts_this_session_only(archive, tmp_path):
    config = run_config(archive, total_kimg=0.064)
    config = replace(config, saving=replace(config.saving, kimg_per_tick=0.05))
    run = tmp_path / "run"
    stopped_at(48, config, run)
    train(config, run, resume=True, echo=lambda line: None)
    timing = ticks(run)[-1]
    images = timing["Timing/images_per_sec"]["mean"] * timing["Timing/sec_per_tick"]["mean"]
    assert images == pytest.approx(16)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_leaves(number, code, archive, tmp_path, monkeypatch, story):
    config, run = run_config(archive), tmp_path / "run"
    whole = train(config, tmp_path / "whole", echo=lambda line: None)
    calls = []

    def interrupting(*args):
        calls.append(None)
        if len(calls) == 3:
            os.kill(os.getpid(), number)
        return losses.generator_main(*args)

    monkeypatch.setattr(session_module, "Phases", lambda: Phases(generator_main=interrupting))
    with pytest.raises(Interrupted, match="everything is saved: the same command with --resume goes on") as caught:
        train(config, run, echo=story.append)
    assert caught.value.exit_code == code
    monkeypatch.setattr(session_module, "Phases", Phases)
    assert train(config, run, resume=True, echo=story.append).read_bytes() == whole.read_bytes()
    assert json.loads((run / "environment.json").read_text())["sessions"][1]["resumed_at_nimg"] == 12


# ---- disks


def test_not_enough_disk_for_a_checkpoint_is_said_and_the_run_goes_on(archive, tmp_path, monkeypatch, story):
    config, run = run_config(archive), tmp_path / "run"
    stopped_at(16, config, run)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("capriccio.training.checkpoint.shutil.disk_usage", lambda path: usage._replace(free=1000))
    train(config, run, resume=True, echo=story.append)
    assert "Warning: not enough disk for a checkpoint" in story
    assert "Done: 0.048 kimg." in story
    manifest = json.loads((run / "checkpoints" / "checkpoint-000000" / "manifest.json").read_text())
    assert manifest["nimg"] == 16  # the old one is still there, and still sound
    monkeypatch.undo()
    train(config, run, resume=True, echo=story.append)
    assert "Resumed at 0.0 kimg." in story


def test_a_run_without_room_for_its_last_snapshot_fails_and_can_be_finished(archive, tmp_path, monkeypatch, story):
    config, run = run_config(archive), tmp_path / "run"
    real = saving.take_snapshot

    def full(*args):
        raise StorageError("the disk is full")

    monkeypatch.setattr(saving, "take_snapshot", full)
    with pytest.raises(StorageError, match="the disk is full"):
        train(config, run, echo=story.append)
    assert "Warning: the disk is full" in story
    monkeypatch.setattr(saving, "take_snapshot", real)
    assert load_snapshot(train(config, run, resume=True, echo=story.append)).facts.nimg == 48


# ---- divergence


def diverging(from_nimg: int, until_call: Callable[[], bool]) -> Callable[..., losses.PhaseOutput]:
    calls = []

    def run(*args):
        calls.append(None)
        output = losses.generator_main(*args)
        bad = len(calls) > from_nimg // 4 and until_call()
        return output._replace(loss=output.loss * float("nan")) if bad else output

    return run


def test_a_run_that_diverges_is_taken_back_once(archive, tmp_path, monkeypatch, story):
    config, run = run_config(archive, total_kimg=0.12), tmp_path / "run"
    stopped_at(16, config, run)
    broken = diverging(8, lambda: "back to" not in story)
    monkeypatch.setattr(session_module, "Phases", lambda: Phases(generator_main=broken))
    last = train(config, run, resume=True, echo=story.append)
    assert "Losses of Gmain were not finite 16 times in a row: back to 0.0 kimg with other random numbers" in story
    assert "Steps were skipped in this tick, as a loss was not finite:" in story
    assert load_snapshot(last).facts.nimg == 120
    progress = json.loads((run / "checkpoints" / "checkpoint-000000" / "progress.json").read_text())
    assert (progress["salt"], progress["fp32_until_nimg"]) == (1, 16 + 4000)
    assert all(tick["Numerics/skipped_steps"]["mean"] == 0 for tick in ticks(run))
    assert "NaN" not in (run / "stats.jsonl").read_text()


def test_a_run_that_diverges_again_stops_and_explains(archive, tmp_path, monkeypatch, story):
    config, run = run_config(archive, total_kimg=1), tmp_path / "run"
    monkeypatch.setattr(session_module, "Phases", lambda: Phases(generator_main=diverging(8, lambda: True)))
    with pytest.raises(DivergedError, match=r"losses of Gmain are not finite .* again after .* larger --gamma"):
        train(config, run, echo=story.append)
    assert sum("back to 0.0 kimg" in line for line in story) == 1


def test_after_divergence_low_precision_rests_for_a_while(archive, tmp_path):
    config = replace(run_config(archive), precision="bf16")
    seen = []

    def watching(generator, discriminator, inputs, augmentation):
        seen.append(generator.synthesis.low_precision)
        return losses.generator_main(generator, discriminator, inputs, augmentation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "Phases", lambda: Phases(generator_main=watching))
        patch.setattr(session_module, "FP32_AFTER_DIVERGENCE_NIMG", 8)
        patch.setattr(session_module, "BAD_STEPS_IN_A_ROW", 0)  # the first look finds a run that diverged
        with pytest.raises(DivergedError):
            train(replace(config, total_kimg=1), tmp_path / "run", echo=lambda line: None)
    assert seen[:8] == [torch.bfloat16] * 8
    assert seen[8:10] == [None, None]
    assert seen[10] == torch.bfloat16


def test_a_transferred_run_that_diverges_early_starts_from_the_transfer_again(archive, tmp_path, monkeypatch, story):
    source = train(run_config(archive), tmp_path / "source", echo=lambda line: None)
    broken = diverging(8, lambda: "back to" not in story)
    monkeypatch.setattr(session_module, "Phases", lambda: Phases(generator_main=broken))
    config = run_config(archive, total_kimg=0.2)
    train(config, tmp_path / "run", continue_from=str(source), echo=story.append)
    assert sum("Continued from" in line for line in story) == 2
    assert "back to 0.0 kimg" in story


# ---- starting from other networks


def travelling_run(archive: Path, folder: Path) -> Path:
    config = run_config(archive)
    config = replace(config, saving=replace(config.saving, travelling=True))
    train(config, folder, echo=lambda line: None)
    return folder / "travelling.safetensors"


def test_a_travelling_snapshot_is_half_as_large_and_goes_on(archive, tmp_path, story):
    travelling = travelling_run(archive, tmp_path / "source")
    whole = tmp_path / "source" / "snapshots" / "snapshot-000000.safetensors"
    assert read_header(travelling)["dtype"] == "float16"
    assert read_header(travelling)["nimg"] == 48
    assert travelling.stat().st_size < 0.75 * whole.stat().st_size  # the header is a good part of networks so small
    config = run_config(archive, total_kimg=0.06)
    last = train(config, tmp_path / "next", continue_from=str(travelling), echo=story.append)
    assert "Continued from travelling.safetensors at 0.0 kimg" in story
    facts = load_snapshot(last).facts
    assert facts.nimg == 60
    assert facts.pl_mean > 0
    assert facts.augment_p == 0
    assert [tick["nimg"] for tick in ticks(tmp_path / "next")] == [52, 60]


def test_the_licence_of_the_network_a_run_started_from_goes_on_to_bind_after_resuming_too(archive, tmp_path):
    source = load_snapshot(travelling_run(archive, tmp_path / "source"))
    bound = tmp_path / "bound.safetensors"
    save_snapshot(bound, replace(source, facts=replace(source.facts, licence="for research only")))
    config = run_config(archive, total_kimg=0.08)
    for word, made in (("init_from", "init"), ("continue_from", "continued")):
        stopped_at(60, config, tmp_path / made, **{word: str(bound)})
        last = train(config, tmp_path / made, resume=True, echo=lambda line: None, **{word: str(bound)})
        licence = read_header(last)["licence"]
        assert licence.startswith("both apply: for research only; ")
        assert licence.count("licence of 'pictures'") == 1


def test_a_start_that_fails_does_not_bind_the_next(archive, tmp_path):
    config = run_config(archive)
    broken = replace(config, augment=replace(config.augment, mode="fixed", pipe="filter", p=1.0))
    with pytest.raises(UsageError, match="larger than 21 pixels"):
        train(broken, tmp_path / "run", echo=lambda line: None)
    train(config, tmp_path / "run", resume=True, echo=lambda line: None)


def test_resuming_a_continued_run_needs_no_other_command(archive, tmp_path, story):
    travelling = str(travelling_run(archive, tmp_path / "source"))
    config = run_config(archive, total_kimg=0.08)
    whole = train(config, tmp_path / "whole", continue_from=travelling, echo=lambda line: None)
    stopped_at(60, config, tmp_path / "parts", continue_from=travelling, resume=True)
    parts = train(config, tmp_path / "parts", continue_from=travelling, resume=True, echo=story.append)
    assert "Resumed at" in story
    assert "Continued from" not in story
    assert parts.read_bytes() == whole.read_bytes()


def test_a_slim_snapshot_cannot_be_continued(archive, tmp_path):
    from capriccio.snapshots.snapshot import save_snapshot

    source = train(run_config(archive), tmp_path / "source", echo=lambda line: None)
    slim = tmp_path / "slim.safetensors"
    save_snapshot(slim, replace(load_snapshot(source), discriminator=None))
    with pytest.raises(RunError, match=r"has no discriminator.*--init-from"):
        train(run_config(archive), tmp_path / "run", continue_from=str(slim), echo=lambda line: None)
    with pytest.raises(SnapshotError, match="does not exist"):
        train(run_config(archive), tmp_path / "other", init_from="nowhere.safetensors", echo=lambda line: None)
    assert not (tmp_path / "run").exists()  # nothing was changed: the corrected command may name the same folder
    assert not (tmp_path / "other").exists()


def test_augmentation_is_decided_at_the_start_of_a_run_by_the_number_of_pictures(archive, tmp_path, monkeypatch):
    config = replace(run_config(archive, total_kimg=0.008), augment=AugmentConfig(mode="auto"))
    said: list[str] = []
    train(config, tmp_path / "run", echo=said.append)
    assert any(line.startswith("Augmentation: adaptive") for line in said)
    monkeypatch.setattr("capriccio.augmentation.pipes.FEW_PICTURES", 1)  # as if the set had grown
    said.clear()
    train(replace(config, total_kimg=0.012), tmp_path / "run", resume=True, echo=said.append)
    assert any(line.startswith("Augmentation: adaptive") for line in said)
    train(config, tmp_path / "many", echo=said.append)
    assert "Augmentation: none." in said
