"""The average: half-life, ramp-up, and what is averaged."""

from __future__ import annotations

import pytest
import torch

from capriccio.config import EmaConfig
from capriccio.training.ema import ema_beta, update_ema
from capriccio.training.state import new_state
from tests.training.tiny import CPU, run_config


def test_after_its_half_life_half_of_the_past_is_left():
    config = EmaConfig(half_life_kimg=10, rampup=None)
    assert ema_beta(config, nimg=0, batch=100) ** 100 == pytest.approx(0.5)


def test_a_young_run_forgets_faster():
    config = EmaConfig(half_life_kimg=10, rampup=0.05)
    assert ema_beta(config, nimg=0, batch=32) == 0
    assert ema_beta(config, nimg=20_000, batch=32) == pytest.approx(0.5 ** (32 / 1000))
    assert ema_beta(config, nimg=200_000, batch=32) == ema_beta(config, nimg=10**9, batch=32) == 0.5 ** (32 / 10_000)


def test_parameters_are_averaged_and_buffers_copied():
    state = new_state(run_config(), CPU)
    with torch.no_grad():
        for tensor in (*state.generator.parameters(), *state.generator.buffers()):
            tensor.add_(1)
    before = {name: t.clone() for name, t in state.generator_ema.state_dict().items()}
    update_ema(state.generator_ema, state.generator, 0.75)
    averaged = {name for name, _ in state.generator.named_parameters()}
    assert {"mapping.w_avg", "synthesis.blocks.4.conv1.noise_const"} <= before.keys() - averaged
    for name, tensor in state.generator_ema.state_dict().items():
        theirs = state.generator.state_dict()[name]
        expected = torch.lerp(before[name], theirs, 0.25) if name in averaged else theirs
        torch.testing.assert_close(tensor, expected)


def test_a_beta_of_zero_copies_exactly():
    state = new_state(run_config(), CPU)
    with torch.no_grad():
        for tensor in state.generator.parameters():
            tensor.mul_(1.1)
    update_ema(state.generator_ema, state.generator, 0.0)
    for mine, theirs in zip(state.generator_ema.parameters(), state.generator.parameters(), strict=True):
        assert torch.equal(mine, theirs)
