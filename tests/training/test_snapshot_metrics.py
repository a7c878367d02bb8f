"""Metrics while training: curves, the best snapshot, and that nothing about the training changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from capriccio.config import EvaluationConfig, RunConfig
from capriccio.errors import ConfigError, Interrupted, StorageError, UsageError
from capriccio.metrics.evaluation import evaluate
from capriccio.processes import Processes
from capriccio.training import losses, saving
from capriccio.training import session as session_module
from capriccio.training.iteration import Phases
from capriccio.training.run_folder import RunFolder
from capriccio.training.snapshot_metrics import SnapshotMetrics
from capriccio.training.train import train
from tests.training.tiny import CPU, run_config


def measuring(archive, metrics: str = "fd_random64_full,pr_random64_k3_full", **changes) -> RunConfig:
    """A run of 12 iterations with a snapshot every four."""
    config = run_config(archive)
    saving = replace(config.saving, snapshot_kimg=0.016, kimg_per_tick=0.008)
    return replace(config, saving=saving, evaluation=EvaluationConfig(metrics=metrics, **changes))


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def say() -> list[str]:
    return []


def test_snapshots_are_measured_and_the_numbers_are_curves(archive, tmp_path, say):
    last = train(measuring(archive), tmp_path / "run", echo=say.append)
    lines = lines_of(tmp_path / "run" / "metric-fd_random64_full.jsonl")
    assert [line["nimg"] for line in lines] == [16, 32, 48]
    assert lines[0]["card"]["metric"] == "fd_random64_full"
    assert lines[-1]["snapshot_pkl"] == f"snapshots/{last.name}"
    ticks = lines_of(tmp_path / "run" / "stats.jsonl")
    name = "Metrics/fd_random64_full"
    measured = {tick["Metrics/nimg"]["mean"]: tick[name]["mean"] for tick in ticks if name in tick}
    assert measured == {line["nimg"]: line["results"]["fd_random64_full"] for line in lines}
    assert all("Progress/tick" in tick for tick in ticks)  # one line per tick, as before
    assert any("Measured snapshot-000000.safetensors: fd_random64_full" in line for line in say)


def test_measuring_does_not_change_what_is_learnt(archive, tmp_path):
    with_metrics = train(measuring(archive), tmp_path / "with", echo=lambda line: None)
    without = train(
        replace(measuring(archive), evaluation=EvaluationConfig()), tmp_path / "without", echo=lambda line: None
    )
    assert with_metrics.read_bytes() == without.read_bytes()


def test_the_best_snapshot_is_named_and_never_removed(archive, tmp_path):
    config = replace(measuring(archive, keep_best="pr_random64_k3_full_recall"), total_kimg=0.04)
    metrics = SnapshotMetrics(config, tmp_path, Processes(), CPU)
    (tmp_path / "snapshots").mkdir()
    with open(tmp_path / "metric-pr_random64_k3_full.jsonl", "w") as file:
        for nimg, recall in ((1000, 0.2), (2000, 0.6), (3000, 0.4)):
            name = f"snapshots/snapshot-{nimg // 1000:06d}.safetensors"
            (tmp_path / name).touch()
            results = {"pr_random64_k3_full_recall": recall, "pr_random64_k3_full_precision": 1 - recall}
            file.write(json.dumps({"nimg": nimg, "results": results, "snapshot_pkl": name}) + "\n")
    best = metrics.best()
    assert (best.snapshot, best.value) == ("snapshot-000002.safetensors", 0.6)
    assert metrics.measured(2000)
    assert not metrics.measured(4000)

    removed = RunFolder(tmp_path).prune_snapshots(replace(config.saving, keep_snapshots=1), best=best.snapshot)
    assert removed == ["snapshot-000001.safetensors"]
    metrics.trim(1500)
    assert not metrics.measured(2000)
    assert metrics.best() is None  # the one that is left of the list is no longer there


def test_a_lower_distance_is_better(archive, tmp_path):
    train(measuring(archive), tmp_path, echo=lambda line: None)
    lines = lines_of(tmp_path / "metric-fd_random64_full.jsonl")
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["number"] == "fd_random64_full"
    # Snapshots are named by thousands of images: of two of the same name the later one is there.
    there = {line["snapshot_pkl"]: line["results"]["fd_random64_full"] for line in lines}
    assert len(there) < len(lines)
    assert best["value"] == min(there.values())
    kept = {path.name.removeprefix("checkpoint-") for path in (tmp_path / "checkpoints").iterdir()}
    assert best["snapshot"].removeprefix("snapshot-").removesuffix(".safetensors") in kept


def test_a_session_stopped_while_it_measured_is_made_up_for(archive, tmp_path, monkeypatch, say):
    def stopped(*_):
        raise Interrupted(2, "stopped")

    with monkeypatch.context() as patch:
        patch.setattr(SnapshotMetrics, "measure", stopped)
        with pytest.raises(Interrupted):
            train(measuring(archive), tmp_path, echo=say.append)
    assert not (tmp_path / "metric-fd_random64_full.jsonl").exists()
    train(measuring(archive), tmp_path, resume=True, echo=say.append)
    assert [line["nimg"] for line in lines_of(tmp_path / "metric-fd_random64_full.jsonl")] == [16, 32, 48]


def test_a_network_that_cannot_be_measured_costs_the_number_not_the_run(archive, tmp_path, monkeypatch, say):
    original = saving.take_snapshot

    def broken(path, config, state, *rest):
        original(path, config, state, *rest)
        state.generator_ema.synthesis.blocks["4"].constant_input.data.fill_(float("nan"))

    monkeypatch.setattr(saving, "take_snapshot", broken)
    config = replace(measuring(archive), ema=replace(run_config().ema, half_life_kimg=100.0))
    last = train(config, tmp_path, echo=say.append)
    assert last.exists()
    assert any("was not measured" in line and "not finite" in line for line in say)


@pytest.mark.parametrize(
    ("evaluation", "told"),
    [
        (EvaluationConfig(metrics="fid5k_full"), "--weights inception=PATH"),
        (EvaluationConfig(metrics="fdi5k"), "is not a metric"),
        (EvaluationConfig(metrics="fd_random64_full", keep_best="fd_random64"), "Did you mean 'fd_random64_full'"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_learnt(archive, tmp_path, evaluation, told):
    with pytest.raises((UsageError, ConfigError), match=told):
        train(replace(run_config(archive), evaluation=evaluation), tmp_path / "run", echo=lambda line: None)
    assert not (tmp_path / "run").exists()  # the corrected command may name the same folder


def test_metrics_may_change_when_a_run_is_resumed(archive, tmp_path):
    short = replace(measuring(archive), total_kimg=0.016)
    train(short, tmp_path, echo=lambda line: None)
    longer = replace(measuring(archive, metrics="kd_random64_full"), total_kimg=0.032)
    train(longer, tmp_path, resume=True, echo=lambda line: None)
    assert (tmp_path / "metric-kd_random64_full.jsonl").exists()
    assert torch.isfinite(torch.tensor(lines_of(tmp_path / "metric-fd_random64_full.jsonl")[0]["total_time"]))


@pytest.mark.slow
def test_two_processes_measure_together_and_write_each_number_once(archive, tmp_path):
    words = [
        "train", archive, "--out", tmp_path / "run", "--preset", "tiny", "--kimg", 0.032, "--batch", 16, "--holdout", 0,
        "--metrics", "fd_random64_full", "--saving.snapshot_kimg", 0.016, "--precision", "fp32",
    ]  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "capriccio", *map(str, words)]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = lines_of(tmp_path / "run" / "metric-fd_random64_full.jsonl")
    assert [line["nimg"] for line in lines] == [32]
    assert lines[0]["num_gpus"] == 2
    alone = evaluate(tmp_path / "run", archive, "fd_random64_full")
    assert alone["fd_random64_full"] == pytest.approx(lines[-1]["results"]["fd_random64_full"], rel=1e-4)


def test_a_run_that_is_taken_back_forgets_what_was_measured_since(archive, tmp_path, monkeypatch, say):
    config, run = replace(measuring(archive, "fd_random64_full"), total_kimg=0.1), tmp_path / "run"
    train(replace(config, total_kimg=0.016), run, echo=say.append)
    measured, after = run / "metric-fd_random64_full.jsonl", []

    def broken(*args):
        output = losses.generator_main(*args)
        if not any("back to" in line for line in say):
            return output._replace(loss=output.loss * float("nan"))
        after.append([line["nimg"] for line in lines_of(measured)])
        return output

    def full(*args, **kwargs):
        raise StorageError("the disk is full")

    monkeypatch.setattr(saving, "save_checkpoint", full)
    monkeypatch.setattr(session_module, "Phases", lambda: Phases(generator_main=broken))
    train(config, run, resume=True, echo=say.append)
    assert any("Measured" in line for line in say)
    assert after[0] == [16]
    assert [line["nimg"] for line in lines_of(measured)] == [16, 32, 48, 64, 80, 96, 100]
