"""Recorded work: the same numbers as direct work, over rounds, regularisers and replaced networks.

A processor has no graphs; what stands in for one here does the work again on the memory of the recording, and writes
results and gradients where the first time had put them, as a graph does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten

from capriccio.config import AugmentConfig, LossConfig
from capriccio.errors import ConfigError
from capriccio.processes import Processes
from capriccio.training.iteration import Phases, Trainer
from capriccio.training.recording import WARM_UP_CALLS, Captured, Recorder, is_recorded, run_directly
from capriccio.training.state import TrainingState, new_state
from capriccio.training.statistics import Statistics
from tests.training.tiny import CPU, assert_same, draws, reals, run_config, tensors_of


class StandIn:
    """Captures without a GPU."""

    def __init__(self, state: TrainingState) -> None:
        self._pl_mean = state.pl_mean
        networks = (state.generator, state.discriminator)
        self._parameters = [p for network in networks for p in network.parameters()]
        self.replays = 0

    def __call__(self, function: Callable[[], Any]) -> Captured:
        before = self._pl_mean.clone()
        outputs = function()
        self._pl_mean.copy_(before)  # what is captured does not happen, until it is replayed
        places = tree_flatten(outputs)[0]
        gradients = [p.grad for p in self._parameters]

        def replay() -> None:
            self.replays += 1
            kept = [p.grad for p in self._parameters]
            for p in self._parameters:
                p.grad = None
            for place, value in zip(places, tree_flatten(function())[0], strict=True):
                if isinstance(place, torch.Tensor):
                    place.copy_(value)
            for p, gradient, before in zip(self._parameters, gradients, kept, strict=True):
                if gradient is not None:
                    gradient.copy_(p.grad)
                p.grad = before

        return Captured(replay, outputs)


def trained(config, *, recorded: bool, round_size: int, iterations: int = 8) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all tensors after some iterations, and the statistics."""
    state, statistics = new_state(config, CPU), Statistics(CPU)
    stand_in = StandIn(state)
    runner = Recorder(stand_in) if recorded else run_directly
    trainer = Trainer(config, Processes(), Phases(), statistics, runner=runner)
    for _ in range(iterations):
        random = replace(draws(config, state), fixed_shape=True)
        trainer.run(state, reals(config, state.nimg), random, round_size=round_size)
    assert not recorded or stand_in.replays
    return tensors_of(state), statistics.take(Processes())


@pytest.mark.parametrize("round_size", [4, 2])
@pytest.mark.parametrize("lazy", [True, False])
def test_recorded_iterations_give_the_numbers_of_direct_ones(round_size, lazy):
    config = replace(run_config(), augment=AugmentConfig(mode="fixed", p=0.5))
    if not lazy:
        config = replace(config, loss=LossConfig(r1_gamma=0.1, r1_interval=None, pl_interval=None))
    direct, told_directly = trained(config, recorded=False, round_size=round_size)
    recorded, told = trained(config, recorded=True, round_size=round_size)
    assert_same(recorded, direct)
    assert {k: v for k, v in told.items() if "Timing" not in k} == {
        k: v for k, v in told_directly.items() if "Timing" not in k
    }


def test_labels_are_part_of_what_is_copied():
    config = run_config(c_dim=3)
    assert_same(trained(config, recorded=True, round_size=4)[0], trained(config, recorded=False, round_size=4)[0])


def test_the_first_calls_run_as_they_are_and_each_key_is_recorded_once():
    captures = []

    def capture(function):
        captures.append(function())
        return Captured(lambda: None, captures[-1])

    recorder = Recorder(capture)
    for call in range(5):
        assert bool(captures) == (call > WARM_UP_CALLS)
        recorder("a", lambda x: x + 1, (torch.zeros(2),), [])
    recorder("b", lambda x: x + 1, (torch.zeros(2),), [])
    assert len(captures) == 1
    recorder.forget()
    recorder("a", lambda x: x + 1, (torch.zeros(2),), [])
    assert len(captures) == 1


def test_inputs_of_another_shape_are_no_replay():
    recorder = Recorder(lambda function: Captured(lambda: None, function()))
    for _ in range(WARM_UP_CALLS + 1):
        recorder("a", lambda x: x + 1, (torch.zeros(2),), [])
    with pytest.raises(AssertionError, match="same shapes"):
        recorder("a", lambda x: x + 1, (torch.zeros(3),), [])


@pytest.mark.parametrize(
    ("asked", "device", "world", "recorded"),
    [("auto", "cuda", 1, True), ("auto", "cuda", 2, False), ("auto", "cpu", 1, False), ("off", "cuda", 1, False)],
)
def test_work_is_recorded_on_a_single_gpu(asked, device, world, recorded):
    assert is_recorded(asked, torch.device(device), Processes(0, world)) is recorded


@pytest.mark.parametrize(("device", "world"), [("cpu", 1), ("cuda", 2)])
def test_recording_that_cannot_be_is_refused(device, world):
    with pytest.raises(ConfigError, match="leave it at auto"):
        is_recorded("on", torch.device(device), Processes(0, world))


def test_compiled_work_is_not_compiled_again_while_it_is_recorded():
    """The compiler notes that two inputs are one tensor, and compiles again for two, which no capture allows."""
    compiled = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    work = torch.compile(lambda x, y: x * 2 + y, backend=count, fullgraph=True, dynamic=False)
    recorder = Recorder(lambda function: Captured(lambda: None, function()))
    same = torch.ones(3)
    for _ in range(WARM_UP_CALLS + 1):
        assert torch.equal(recorder("key", work, (same, same), []), torch.full((3,), 3.0))
    assert len(compiled) == 1


@pytest.mark.parametrize("is_told", [True, False])
def test_what_cannot_be_recorded_is_done_directly_and_said_once(is_told):
    weight, lines = torch.nn.Parameter(torch.ones(())), []

    def refuse(function: Callable[[], Any]) -> Captured:
        function()  # leaves a gradient, and fails at the end as a capture does
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    def work(x: torch.Tensor) -> torch.Tensor:
        (weight * x).backward()
        return x + 1

    recorder = Recorder(refuse, say=lines.append if is_told else None)
    for _ in range(WARM_UP_CALLS):
        recorder("key", work, (torch.tensor(3.0),), [weight])
    weight.grad = torch.tensor(10.0)
    if not is_told:
        with pytest.raises(RuntimeError, match="not permitted"):
            recorder("key", work, (torch.tensor(3.0),), [weight])
        assert weight.grad == 10
        return
    assert recorder("key", work, (torch.tensor(3.0),), [weight]) == 4
    assert recorder("key", work, (torch.tensor(5.0),), [weight]) == 6
    assert weight.grad == 18
    assert len(lines) == 1
    assert "not permitted" in lines[0]
    assert "more" not in lines[0]
