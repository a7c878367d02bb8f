"""The story of a run in files."""

from __future__ import annotations

import json

import pytest

from capriccio.errors import StorageError
from capriccio.training import run_log
from capriccio.training.run_log import RunLog


def test_lines_are_told_and_written(tmp_path):
    told = []
    log = RunLog(tmp_path, told.append)
    log.say("Hello.")
    log.statistics({"Loss/G/loss": {"num": 1, "mean": float("nan"), "std": 0.5}, "nimg": 4}, nimg=4)
    log.close()
    assert told == (tmp_path / "log.txt").read_text().splitlines() == ["Hello."]
    line = json.loads((tmp_path / "stats.jsonl").read_text())
    assert line == {"Loss/G/loss": {"num": 1, "mean": None, "std": 0.5}, "nimg": 4}


def test_other_processes_tell_nothing():
    log = RunLog(None, pytest.fail)
    log.say("x")
    log.statistics({}, nimg=0)
    log.trim(0)
    log.close()


def test_a_story_that_cannot_be_written_is_still_told(tmp_path):
    told = []
    log = RunLog(tmp_path, told.append)
    (tmp_path / "log.txt").mkdir()
    (tmp_path / "stats.jsonl").mkdir()
    log.say("Hello.")
    log.statistics({"nimg": 4}, nimg=4)
    log.close()
    assert told == ["Hello."]


def test_ticks_of_lost_progress_and_half_lines_are_dropped(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text('{"nimg": 4}\n{"nimg": 8}\n{"nimg": 12}\n{"ni')
    log = RunLog(tmp_path, print)
    log.trim(8)
    log.close()
    assert path.read_text() == '{"nimg": 4}\n{"nimg": 8}\n'


def test_a_full_disk_costs_what_would_be_trimmed_and_not_the_run(tmp_path, monkeypatch):
    def full(path):
        raise StorageError("the disk is full")

    log = RunLog(tmp_path, lambda line: None)
    log.statistics({"nimg": 4}, nimg=4)
    monkeypatch.setattr(run_log, "replacing", full)
    log.trim(0)
    log.amend({}, nimg=4)
    assert json.loads((tmp_path / "stats.jsonl").read_text()) == {"nimg": 4}
