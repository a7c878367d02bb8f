"""Processes that exchange, and signals."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch

from capriccio import processes as module
from capriccio.errors import WorkerError
from capriccio.processes import Processes, collected_signals, joined_processes

CPU = torch.device("cpu")


def test_a_single_process_needs_no_communication(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_processes(CPU) as processes:
        assert processes.is_main
        value = torch.tensor([1.0, 2.0])
        assert processes.sum(value) is value
        processes.average([value])
        assert value.tolist() == [1, 2]
        assert processes.share({"a": 1}) == {"a": 1}
        processes.wait()


def test_a_failed_exchange_is_told_as_a_lost_process():
    with pytest.raises(WorkerError, match=r"another process of this run died .*Connection closed.*--resume"):  # noqa: SIM117
        with module._worker_errors():
            raise RuntimeError("Connection closed by peer\nmore lines")


def test_averages_are_exchanged_in_one_piece(monkeypatch):
    exchanged = []

    def all_reduce(value):
        exchanged.append(len(value))
        value *= 2  # two processes with equal numbers

    monkeypatch.setattr(module.dist, "all_reduce", all_reduce)
    tensors = [torch.randn(2, 3), torch.randn(()), torch.randn(4)]
    before = [t.clone() for t in tensors]
    Processes(0, 2).average(tensors)
    assert exchanged == [11]
    for now, then in zip(tensors, before, strict=True):
        torch.testing.assert_close(now, then)


def test_signals_are_collected_once_and_handlers_restored():
    before = signal.getsignal(signal.SIGTERM)
    hits = []
    signal.signal(signal.SIGTERM, lambda *_: hits.append(1))
    try:
        with collected_signals() as received:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (received, hits) == ([signal.SIGTERM], [])
            os.kill(os.getpid(), signal.SIGTERM)
            assert hits == [1]
        os.kill(os.getpid(), signal.SIGTERM)
        assert hits == [1, 1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def run() -> None:
        with collected_signals() as received:
            seen.append(list(received))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [[]]
