"""Statistics."""

from __future__ import annotations

import pytest
import torch

from capriccio.processes import Processes
from capriccio.training.statistics import Statistics
from tests.training.tiny import CPU


def test_means_deviations_and_counts_are_those_of_all_values():
    statistics, values = Statistics(CPU), torch.randn(10, dtype=torch.float64)
    statistics.add("x", values[:4])
    statistics.add("x", values[4:].reshape(2, 3))
    assert statistics.mean("x") == pytest.approx(float(values.mean()))
    told = statistics.take(Processes())["x"]
    assert told["num"] == 10
    assert told["mean"] == pytest.approx(float(values.mean()))
    assert told["std"] == pytest.approx(float(values.std(unbiased=False)))
    assert "x" not in statistics.take(Processes())
    assert statistics.mean("x") is None


def test_a_phase_that_is_run_again_is_counted_once():
    statistics = Statistics(CPU)
    statistics.add("x", torch.ones(2))
    statistics.begin_phase("Gmain")
    statistics.add("x", torch.full((3,), 100.0))
    statistics.note_loss_is_finite(torch.tensor(False))
    statistics.forget_phase()
    assert float(statistics.take_bad_loss()) == 0
    assert statistics.take(Processes())["x"] == {"num": 2, "mean": 1, "std": 0}
