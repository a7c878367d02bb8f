from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from capriccio.data.building.items import HeldContent, Item
from capriccio.data.building.pool import _Worker, prepare_all
from capriccio.data.building.recipe import Recipe
from capriccio.data.building.report import Entry
from capriccio.data.building.worker import Task

from ..conftest import encoded, picture

TASK = Task(size=(16, 16), recipe=Recipe())


def files(count: int) -> list[Item | Entry]:
    return [
        Entry(f"{i}.txt", "not-an-image", "is not a picture")
        if i % 7 == 3
        else Item(f"{i}.png", HeldContent(encoded(picture(i))))
        for i in range(count)
    ]


def told(prepared) -> list[tuple[str, str]]:
    return [(p.file, p.status) if isinstance(p, Entry) else (p[0].name, p[1].status) for p in prepared]


@dataclass(frozen=True)
class Deadly:
    """Kills the process that reads it, as a fault in a decoder would."""

    flag: Path

    def read(self, limit: int = -1) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


def test_processes_give_what_one_gives_in_the_same_order():
    alone = list(prepare_all(files(50), TASK, workers=0))
    shared = list(prepare_all(files(50), TASK, workers=2))
    assert shared == alone


def test_a_file_that_kills_its_process_is_left_out_and_the_others_are_not(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))  # for the processes to find Deadly
    some = files(40)
    some[20] = Item("deadly.png", Deadly(tmp_path))
    found = dict(told(prepare_all(some, TASK, workers=2)))
    assert found.pop("deadly.png") == "unreadable"
    assert "unreadable" not in found.values()
    assert len(found) == 39


def test_files_are_taken_only_as_fast_as_they_are_prepared():
    taken = []

    def endless():
        for i in range(10_000):
            taken.append(i)
            yield Item(f"{i}.png", HeldContent(encoded(picture(i % 5))))

    outcomes = prepare_all(endless(), TASK, workers=2)
    for _ in range(20):
        next(outcomes)
    assert len(taken) < 60
    outcomes.close()


def test_what_could_not_be_sent_to_a_process_that_was_stopped_is_forgotten():
    worker = _Worker(TASK)
    worker._process.kill()
    worker._process.wait()
    worker._input.write(b"half a message")
    worker.stop()
    assert worker._input.closed
    assert worker._output.closed


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_remains_when_the_reader_leaves_early(workers):
    before = set(threading.enumerate())
    outcomes = prepare_all(files(60), TASK, workers=workers)
    next(outcomes)
    outcomes.close()

    def left() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread not in before]

    deadline = time.monotonic() + 60  # on a busy machine a thread that has ended may still be counted for a while
    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left() == []
