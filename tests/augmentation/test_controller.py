from __future__ import annotations

import pytest
import torch

from capriccio.augmentation.controller import AdaController
from capriccio.config import AugmentConfig
from capriccio.errors import ConfigError

CPU = torch.device("cpu")


def controller(**settings) -> AdaController:
    return AdaController(AugmentConfig(mode="ada", **settings), CPU)


def step(ada: AdaController, signs: list[float], nimg: int = 0, batch: int = 64) -> float:
    ada.note(torch.tensor(signs))
    ada.adjust(ada.signs, batch=batch, nimg=nimg)
    return ada.p


def test_p_moves_by_the_published_step_towards_the_target():
    ada = controller()
    assert step(ada, [1.0, 1.0, 1.0, 1.0]) == pytest.approx(0.000512)
    assert step(ada, [1.0, 1.0, 1.0, 0.0]) == pytest.approx(0.001024)  # 0.75 is above 0.6
    assert step(ada, [1.0, 1.0, 0.0, 0.0]) == pytest.approx(0.000512)
    assert step(ada, [-1.0]) == 0
    assert step(ada, [-1.0]) == 0


def test_at_the_target_p_stays():
    ada = controller(target=0.5)
    step(ada, [1.0])
    assert step(ada, [1.0, 1.0, 1.0, -1.0]) == pytest.approx(0.000512)


def test_signs_gather_over_calls_and_are_forgotten_afterwards():
    ada = controller()
    ada.note(torch.ones(3))
    ada.note(torch.tensor([[-1.0]]))
    assert ada.signs.tolist() == [2.0, 4.0]
    assert step(ada, []) == 0  # the mean 0.5 is below the target
    assert ada.signs.tolist() == [0.0, 0.0]


def test_outputs_that_are_not_finite_do_not_count():
    ada = controller()
    ada.note(torch.tensor([1.0, float("nan"), float("inf")]))
    assert ada.signs.tolist() == [1.0, 1.0]


def test_p_stops_at_the_cap_and_saturation_is_told_once():
    ada = controller(kimg=1.0, cap=0.3)
    told = []
    for nimg in range(0, 1000, 64):
        step(ada, [1.0], nimg=nimg, batch=16)
        told.append(ada.saturates_between(nimg - 64, nimg))
    assert ada.p == 0.3
    assert sum(told) == 1
    assert ada.capped_nimg(960) == 960 - 256
    step(ada, [-1.0], nimg=1000, batch=16)
    assert ada.p < 0.3
    assert ada.capped_nimg(1000) == 0


@pytest.mark.parametrize(("mode", "p"), [("none", 0.0), ("fixed", 0.35), ("light", 1.0)])
def test_other_modes_have_a_constant_p(mode, p):
    ada = AdaController(AugmentConfig(mode=mode, p=0.35), CPU)
    ada.adapted_p = 0.5
    ada.note(torch.ones(4))
    assert ada.p == p
    assert not ada.is_adaptive
    assert ada.signs.tolist() == [0.0, 0.0]


def test_p_may_start_above_zero():
    ada = AdaController(AugmentConfig(mode="ada", initial_p=0.3), CPU)
    assert ada.p == 0.3
    with pytest.raises(ConfigError, match=r"initial_p must lie in 0\.\.cap"):
        AugmentConfig(mode="ada", initial_p=0.9)
