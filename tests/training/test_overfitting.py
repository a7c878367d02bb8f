from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from capriccio.networks.forms import Formed
from capriccio.training.overfitting import measure_overfitting
from capriccio.training.state import new_state
from tests.training.tiny import ADA, CPU, SHAPE, draws, run_config

CONFIG = run_config()


class OneColour:
    """Pictures of one brightness, 0…255."""

    c_dim = 0

    def __init__(self, value: int, count: int) -> None:
        self.num_pictures = count
        self.value = value

    def images(self, indices):
        assert max(indices) < self.num_pictures
        return np.full((len(indices), 3, SHAPE.height, SHAPE.width), self.value, dtype=np.uint8)


class Brightness(Formed):
    """A discriminator that takes bright pictures for real, and has seen at most so many at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, images, c=None):
        self.sizes.append(len(images))
        return images.mean(dim=(1, 2, 3))[:, None]


def measured(training: int, heldout: int, *, count: int = 8, round_size: int = 4, config=CONFIG):
    state = new_state(config, CPU)
    with torch.no_grad():  # fakes are black
        for parameter in state.generator.synthesis.parameters():
            parameter.zero_()
        top = state.generator.synthesis.blocks[str(SHAPE.levels[-1])]
        top.to_rgb.bias.fill_(-1.0)
    state.discriminator = Brightness()
    data = SimpleNamespace(train=OneColour(training, 20), heldout=OneColour(heldout, count))
    return measure_overfitting(state, data, draws(config, state), round_size), state.discriminator.sizes


def test_r_v_is_the_place_of_held_out_pictures_between_training_pictures_and_fakes():
    for heldout, r_v in ((255, 0.0), (204, 0.2), (51, 0.8), (0, 1.0)):
        result, _ = measured(255, heldout)
        assert result.r_v == pytest.approx(r_v, abs=1e-5)
        assert result.heldout.tolist() == pytest.approx([heldout / 127.5 - 1] * 8, abs=1e-6)


def test_where_reals_and_fakes_are_not_told_apart_there_is_no_r_v():
    result, _ = measured(0, 100)
    assert math.isnan(result.r_v)


def test_no_more_pictures_than_fit_are_looked_at_together():
    _, sizes = measured(255, 255, count=70, round_size=16)
    assert sizes == [16] * 12
    _, sizes = measured(255, 255, count=3, round_size=16)
    assert sizes == [3] * 3


def test_without_held_out_pictures_nothing_is_measured():
    result, sizes = measured(255, 255, count=0)
    assert result is None
    assert not sizes


def test_all_three_kinds_are_augmented():
    result, _ = measured(255, 200, config=replace(CONFIG, augment=replace(ADA, mode="fixed", pipe="color", p=1.0)))
    assert result.heldout.std() > 0.01
