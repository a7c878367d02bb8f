"""The doctor while a run goes on, and on what a real run left behind."""

from __future__ import annotations

import json

import pytest

from capriccio.doctor import examination
from capriccio.doctor.examination import examine
from capriccio.doctor.record import read_run
from capriccio.training import session as session_module
from capriccio.training.iteration import Phases
from capriccio.training.train import train
from tests.training.test_session import diverging
from tests.training.tiny import run_config


def doctors_words(lines):
    return [line for line in lines if line.startswith("Doctor")]


def test_a_real_run_is_read_and_found_healthy(archive, tmp_path):
    lines: list[str] = []
    train(run_config(archive, total_kimg=0.2), tmp_path / "run", echo=lines.append)
    record = read_run(tmp_path / "run")
    assert record.nimg == 200
    assert record.num_pictures == 24
    assert record.recent() is not None
    assert examine(record) == {}
    assert not doctors_words(lines)


def test_trouble_is_told_in_the_log_once(archive, tmp_path, monkeypatch):
    bad_steps = iter([True] * 3)
    phases = Phases(generator_main=diverging(100, lambda: next(bad_steps, False)))
    monkeypatch.setattr(session_module, "Phases", lambda: phases)
    lines: list[str] = []
    train(run_config(archive, total_kimg=0.2), tmp_path / "run", echo=lines.append)
    told = doctors_words(lines)
    assert [line.split(".")[0] for line in told] == ["Doctor, warning: The precision does not suffice"]
    assert told[0] in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("broken", [OSError("gone"), None])
def test_a_disk_that_cannot_be_read_costs_the_diagnosis_not_the_run(broken, archive, tmp_path, monkeypatch):
    def rule(record):
        if broken is not None:
            raise broken

    monkeypatch.setattr(examination, "RULES", {"broken": rule})
    train(run_config(archive), tmp_path / "run", echo=lambda line: None)
    assert json.loads((tmp_path / "run" / "stats.jsonl").read_text().splitlines()[-1])["nimg"] == 48
