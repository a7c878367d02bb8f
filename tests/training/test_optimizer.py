"""Adam under lazy regularisation, and gradients that are not finite."""

from __future__ import annotations

import pytest
import torch

from capriccio.config import OptimizerConfig
from capriccio.training.optimizer import make_adam, parameters_of, sanitize

INF, NAN = float("inf"), float("nan")


def test_an_extra_step_every_k_iterations_is_paid_for_by_rate_and_decays():
    p = torch.nn.Parameter(torch.zeros(2))
    group = make_adam([p], OptimizerConfig(beta1=0.9, beta2=0.99), lr=0.002, interval=4).param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 0.8)
    assert group["betas"] == pytest.approx((0.9**0.8, 0.99**0.8))
    assert group["eps"] == 1e-8
    # k + 1 steps forget as much, and move as far, as k steps of plain Adam.
    assert group["betas"][1] ** 5 == pytest.approx(0.99**4)
    assert group["lr"] * 5 == pytest.approx(0.002 * 4)


def test_without_a_lazy_regulariser_nothing_is_corrected():
    p = torch.nn.Parameter(torch.zeros(2))
    group = make_adam([p], OptimizerConfig(), lr=0.002, interval=None).param_groups[0]
    assert (group["lr"], group["betas"]) == (0.002, (0.0, 0.99))


def test_frozen_parameters_are_not_stepped():
    learning, frozen = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2), requires_grad=False)
    assert parameters_of(make_adam([learning, frozen], OptimizerConfig(), lr=0.1, interval=None)) == [learning]


def test_gradients_are_made_finite_and_counted():
    gradients = [torch.tensor([NAN, 1.0, INF]), torch.tensor([[-INF], [2.0]])]
    assert float(sanitize(gradients)) == 3
    assert gradients[0].tolist() == [0.0, 1.0, 1e5]
    assert gradients[1].tolist() == [[-1e5], [2.0]]


def test_finite_gradients_stay_as_they_are():
    gradient = torch.tensor([3e38, -1e-40, 0.0])
    before = gradient.clone()
    assert float(sanitize([gradient])) == 0
    assert torch.equal(gradient, before)
