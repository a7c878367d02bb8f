"""Whole runs of toy size on streamed shards: resuming, a bad server, several processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import capriccio.data.lanes as lanes_module
from capriccio.config import RunConfig
from capriccio.errors import ConfigError, JobError, RunError
from capriccio.processes import Processes
from capriccio.training.feed import Feed, open_data
from capriccio.training.train import train
from tests.data.shard_server import Troubles, serving, write_shards
from tests.training.test_kill import finished
from tests.training.test_processes import assert_like, together
from tests.training.test_session import stopped_at, ticks
from tests.training.tiny import CPU, run_config

COUNTS = (12, 9, 14, 10)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(lanes_module, "WAIT_SECONDS", 0.01)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> str:
    return write_shards(tmp_path_factory.mktemp("shards"), COUNTS, classes=3)


def streamed(path: str, **changes) -> RunConfig:
    config = run_config(path, **changes)
    return replace(config, data=replace(config.data, cache="stream", shuffle_buffer=32))


@pytest.mark.slow
def test_a_resumed_run_on_a_bad_server_ends_bit_identical_to_one_on_files(shards, tmp_path):
    lines: list[str] = []
    whole = train(streamed(shards), tmp_path / "whole", echo=lambda line: None)
    troubles = Troubles(
        drop_after={"set-002.tar": [20_000, 3000]}, stall_after={"set-001.tar": [0, 5000]}, stall_seconds=0.2
    )
    with serving(Path(shards).parent, troubles) as address:
        config = streamed(f"{address}/set-{{000..003}}.tar")
        for nimg in (20, 32):
            stopped_at(nimg, config, tmp_path / "run", resume=True)
        parted = train(config, tmp_path / "run", resume=True, echo=lines.append)
    assert parted.read_bytes() == whole.read_bytes()
    assert "Resumed at 0.0 kimg." in lines
    assert lines[0].startswith("Data: set, 4 shards, streamed, the first 45 pictures in memory, 3×16×16")


@pytest.mark.slow
def test_a_run_whose_server_goes_away_saves_and_goes_on_when_it_is_back(shards, tmp_path):
    whole = train(streamed(shards, total_kimg=0.2), tmp_path / "whole", echo=lambda line: None)
    troubles = Troubles()

    def leave(line: str) -> None:
        if line.startswith("tick 2 "):
            troubles.refuse = {f"set-{i:03d}.tar" for i in range(4)}

    with serving(Path(shards).parent, troubles) as address:
        config = streamed(f"{address}/set-{{000..003}}.tar", total_kimg=0.2)
        with pytest.raises(JobError, match="no picture came from 4 shards"):
            train(config, tmp_path / "run", echo=leave)
        assert ticks(tmp_path / "run")[-1]["nimg"] >= 44
        troubles.refuse = set()
        parted = train(config, tmp_path / "run", resume=True, echo=lambda line: None)
    sessions = json.loads((tmp_path / "run" / "environment.json").read_text())["sessions"]
    assert 44 <= sessions[1]["resumed_at_nimg"] < 200
    assert parted.read_bytes() == whole.read_bytes()


def test_a_run_continued_from_a_snapshot_resumes_on_the_stream_it_went_on_with(shards, tmp_path):
    source = streamed(shards, total_kimg=0.04)
    train(replace(source, saving=replace(source.saving, travelling=True)), tmp_path / "source", echo=lambda line: None)
    travelling = str(tmp_path / "source/travelling.safetensors")
    config = streamed(shards, total_kimg=0.12)
    whole = train(config, tmp_path / "whole", continue_from=travelling, echo=lambda line: None)
    stopped_at(80, config, tmp_path / "parts", continue_from=travelling, resume=True)
    parts = train(config, tmp_path / "parts", continue_from=travelling, resume=True, echo=lambda line: None)
    assert parts.read_bytes() == whole.read_bytes()


def test_epochs_and_waiting_are_told(shards, tmp_path):
    train(streamed(shards, total_kimg=0.12), tmp_path / "run", echo=lambda line: None)
    last = ticks(tmp_path / "run")[-1]
    assert 1 < last["Progress/epochs"]["mean"] < 4
    assert last["Timing/data"]["num"] > 0


def test_conditional_networks_train_on_streamed_labels(shards, tmp_path):
    train(streamed(shards, c_dim=3, total_kimg=0.012), tmp_path / "run", echo=lambda line: None)
    feed = Feed(streamed(shards, c_dim=3), open_data(streamed(shards, c_dim=3), Processes()).train, Processes(), CPU)
    labels = feed.next().labels
    assert labels.shape == (4, 3)
    assert torch.equal(labels.sum(dim=1), torch.ones(4))


def test_other_shards_are_another_run(shards, tmp_path):
    stopped_at(20, streamed(shards), tmp_path / "run")
    with pytest.raises(RunError, match="a run on other pictures"):
        train(streamed(shards.replace("003", "002")), tmp_path / "run", resume=True, echo=lambda line: None)


def test_more_processes_than_shards_are_refused(shards):
    config = streamed(shards)
    dataset = open_data(config, Processes()).train
    with pytest.raises(ConfigError, match="4 shards cannot be shared by 5 processes"):
        Feed(config, dataset, Processes(rank=0, world_size=5), CPU)


@pytest.mark.slow
def test_two_processes_stream_what_one_streams_and_resume_on_another_number(shards, tmp_path):
    finished(shards, tmp_path / "one", "--kimg", 0.04)
    together(2, shards, tmp_path / "two", "--kimg", 0.04)
    assert_like(tmp_path / "two", tmp_path / "one")
    together(2, shards, tmp_path / "changing", "--kimg", 0.016)
    assert "Resumed" in finished(shards, tmp_path / "changing", "--kimg", 0.028)
    assert "Resumed" in together(2, shards, tmp_path / "changing", "--kimg", 0.04)
    assert_like(tmp_path / "changing", tmp_path / "one")
