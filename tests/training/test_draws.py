"""Random numbers follow from (seed, salt, nimg, phase, round) and are shared out by rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.training.draws import stream
from capriccio.training.state import new_state
from tests.training.tiny import CPU, draws, run_config

CONFIG = run_config(c_dim=5)
STATE = new_state(CONFIG, CPU)


def flat(inputs) -> list[torch.Tensor]:
    return [inputs.z, inputs.z_mix, inputs.c, *inputs.noise]


def test_equal_words_give_equal_numbers_and_other_words_others():
    def numbers(*words):
        return torch.randn(4, generator=stream(*words))

    assert torch.equal(numbers(0, "Gmain", 1), numbers(0, "Gmain", 1))
    assert not torch.equal(numbers(0, "Gmain", 1), numbers(0, "Gmain", 2))
    assert not torch.equal(numbers(0, 12), numbers(0, 1, 2))


@pytest.mark.parametrize("world", [2, 3])
def test_the_rows_of_all_processes_are_the_rows_of_one(world):
    whole = draws(CONFIG, STATE).generator_inputs("Gmain", 0, 12)
    for rank in range(world):
        mine = draws(CONFIG, STATE, rank=rank, num_processes=world)
        part = mine.generator_inputs("Gmain", 0, 12 // world)
        for theirs, ours in zip(flat(whole), flat(part), strict=True):
            assert torch.equal(ours, theirs[rank::world])
        assert torch.equal(part.mixed_rows, whole.mixed_rows)
        noise = draws(CONFIG, STATE).pl_noise(0, 12)
        assert torch.equal(mine.pl_noise(0, 12 // world), noise[rank::world])


def test_phase_round_nimg_seed_and_salt_each_give_other_numbers():
    first = draws(CONFIG, STATE)
    others = [
        first.generator_inputs("Dmain", 0, 4),
        first.generator_inputs("Gmain", 1, 4),
        replace(first, nimg=4).generator_inputs("Gmain", 0, 4),
        replace(first, seed=1).generator_inputs("Gmain", 0, 4),
        replace(first, salt=1).generator_inputs("Gmain", 0, 4),
    ]
    z = first.generator_inputs("Gmain", 0, 4).z
    assert torch.equal(z, first.generator_inputs("Gmain", 0, 4).z)
    assert not any(torch.equal(z, other.z) for other in others)


def test_drawing_does_not_touch_the_random_state_of_the_process():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    draws(CONFIG, STATE).generator_inputs("Gmain", 0, 4)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_mixing_replaces_the_rows_from_a_uniform_cutoff_on():
    first = draws(CONFIG, STATE)
    num_ws = CONFIG.generator.num_ws
    counts = [0] * (num_ws + 1)
    for nimg in range(600):
        rows = replace(first, nimg=nimg, noise_shapes=()).generator_inputs("Gmain", 0, 1).mixed_rows
        cutoff = num_ws - int(rows.sum())
        assert torch.equal(rows, torch.arange(num_ws) >= cutoff)
        counts[cutoff] += 1
    assert counts[0] == 0  # row 0 always belongs to the first latent
    assert 30 <= counts[num_ws] <= 95  # unmixed with probability 0.1
    assert all(60 <= count <= 160 for count in counts[1:num_ws])  # 108 each


def test_mixing_can_be_off():
    never = replace(draws(CONFIG, STATE), mixing_prob=0.0)
    assert not any(bool(replace(never, nimg=i).generator_inputs("Gmain", 0, 1).mixed_rows.any()) for i in range(20))
