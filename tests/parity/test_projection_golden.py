"""The projection of the paper against numbers of the reference program."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from capriccio.inversion.noise_maps import noise_regularizer, normalize_noise
from capriccio.inversion.official import OfficialProjector, OfficialSettings, exploration, learning_rate
from capriccio.inversion.problem import Problem
from capriccio.inversion.w_statistics import w_statistics
from capriccio.networks.generator import Generator
from capriccio.perception.protocols import NetworkCard
from tests.parity.golden import Golden, close, fill, generator_config, of_kind

CASES = of_kind("projection")


class StandInDistance:
    """The stand-in network of the fixture: averages of 4×4 pixels over the root of their number."""

    card = NetworkCard(name="stand-in", weights="", preprocessing="averages of 4×4 pixels")

    def vectors(self, images: Tensor) -> Tensor:
        flat = functional.avg_pool2d(images, 4).flatten(1)
        return flat / flat.shape[1] ** 0.5


def generator_of(golden: Golden) -> Generator:
    generator = Generator(generator_config(golden.config["G"])).eval().requires_grad_(False)
    fill(generator, golden.under("param/G."))
    return generator


@pytest.mark.parametrize("golden", CASES, ids=str)
def test_statistics_of_w_are_those_of_the_reference(golden: Golden) -> None:
    found = w_statistics(generator_of(golden), num_samples=golden.config["w_samples"])
    close(found.mean, golden["out/w_avg"].float())
    close(torch.tensor(found.std), golden["out/w_std"].float())


@pytest.mark.parametrize("golden", CASES, ids=str)
def test_schedules_are_those_of_the_reference(golden: Golden) -> None:
    settings = OfficialSettings()
    rates = torch.tensor([learning_rate(k / 1000, settings) for k in range(1000)], dtype=torch.float64)
    strengths = torch.tensor([exploration(k / 1000, settings) for k in range(1000)], dtype=torch.float64)
    close(rates, golden["out/lr_1000"].double(), atol=1e-9, rtol=1e-9)
    close(strengths, golden["out/noise_scale_1000"].double(), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("golden", CASES, ids=str)
@pytest.mark.parametrize("side", [4, 8, 16, 32])
def test_noise_maps_are_regularised_and_normalised_as_in_the_reference(golden: Golden, side: int) -> None:
    noise = golden[f"in/reg.{side}"][None, None].float().clone()
    close(noise_regularizer([noise])[0], golden[f"out/reg.{side}"].float())
    normalize_noise([noise])
    close(noise[0, 0], golden[f"out/normalised.{side}"].float())


@pytest.mark.parametrize("golden", CASES, ids=str)
def test_w_follows_the_reference_step_by_step(golden: Golden) -> None:
    generator = generator_of(golden)
    target = golden["in/target_u8"][None].float() / 127.5 - 1
    problem = Problem(generator=generator, distance=StandInDistance(), targets=target)
    statistics = w_statistics(generator, num_samples=golden.config["w_samples"])
    projector = OfficialProjector(problem, statistics, OfficialSettings(num_steps=golden.config["num_steps"]))
    names = sorted(golden.under("in/noise_init."), key=lambda name: (int(name.split(".")[0][1:]), name))
    with torch.no_grad():
        for noise, name in zip(projector.noise, names, strict=True):
            noise.copy_(golden[f"in/noise_init.{name}"])
    rows = [projector.ws[0, 0].clone() for _ in projector.steps(golden["in/w_noise"])]
    close(torch.stack(rows), golden["out/w_per_step"], atol=1e-3, rtol=0)
