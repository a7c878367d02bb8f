from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from capriccio.bench.bound import convolution_bound
from capriccio.bench.measure import IterationSeconds, Shares, measure, relative_cost
from capriccio.bench.peak import ConvolutionPeak
from capriccio.bench.workload import TrainingWorkload, bench_run
from capriccio.config import AugmentConfig, ImageShape

CPU = torch.device("cpu")


class SteadyWorkload:
    """Every iteration takes the same, known time."""

    batch = 10

    def train(self):
        phases = {"Gmain": 1.0, "Greg": 2.0, "Dmain": 3.0, "Dreg": 8.0}
        return IterationSeconds(14.5, phases, dict.fromkeys(phases, 0.25), ema=0.5)

    def generate(self):
        pass


class FakePeak:
    """A machine whose speed changes at every look."""

    def __init__(self, values):
        self._values = itertools.cycle(values)

    def measure(self):
        return next(self._values)


def speed(peak):
    return measure(
        SteadyWorkload(), peak, CPU, iterations=3, shares=Shares(greg=0.25, dreg=0.0625),
        training_flops=100.0, generating_flops=1.0,
    )  # fmt: skip


def test_an_iteration_has_its_regularisers_at_their_share():
    # 1 + 2/4 + 3 + 8/16 + 0.5 seconds
    assert speed(FakePeak([1000.0])).train_images_per_second == pytest.approx(10 / 5.5)
    assert speed(FakePeak([1000.0])).optimizer_milliseconds == pytest.approx(1000 * 0.25 * (2 + 0.25 + 0.0625))
    assert speed(FakePeak([1000.0])).phase_images_per_second["Dreg"] == pytest.approx(10 / 8)


def test_the_share_is_of_the_peak_on_both_sides_of_an_iteration():
    assert speed(FakePeak([1000.0])).train_share_of_peak == pytest.approx(100 * 10 / 5.5 / 1000)
    assert speed(FakePeak([500.0, 1500.0])).train_share_of_peak == pytest.approx(100 * 10 / 5.5 / 1000)


class Slower(SteadyWorkload):
    """Every phase takes a tenth longer."""

    def train(self):
        run = super().train()
        return replace(run, total=1.1 * run.total, phases={name: 1.1 * s for name, s in run.phases.items()})


def test_one_workload_is_compared_with_another_with_regularisers_at_their_share():
    cost = relative_cost(SteadyWorkload(), Slower(), iterations=3, shares=Shares(greg=0.25, dreg=0.0625))
    assert cost == pytest.approx(1.1)


def test_the_augmented_workload_runs():
    config = bench_run(ImageShape(height=16, width=16), channel_base=64, channel_max=8, mapping_depth=1, batch=4)
    assert config.augment.mode == "none"
    augmented = replace(config, augment=AugmentConfig(mode="fixed", pipe="bgc", p=0.5))
    workloads = [TrainingWorkload(c, CPU, None) for c in (config, augmented)]
    assert relative_cost(*workloads, iterations=1, shares=Shares(greg=0.25, dreg=0.0625)) > 0


def test_the_real_workload_runs_all_four_phases_and_reports_their_times():
    config = bench_run(
        ImageShape(channels=3, height=16, width=24), channel_base=64, channel_max=4, mapping_depth=1, batch=2
    )
    workload = TrainingWorkload(config, CPU, None)
    run = workload.train()
    assert set(run.phases) == {"Gmain", "Greg", "Dmain", "Dreg"} == set(run.optimizer)
    assert all(0 < run.optimizer[name] < run.phases[name] for name in run.phases)
    assert sum(run.phases.values()) + run.ema <= run.total
    assert ConvolutionPeak(CPU, torch.float32, batch=1).measure() > 0


def test_the_bound_measures_every_shape_of_networks_that_are_not_square():
    config = bench_run(
        ImageShape(channels=3, height=16, width=24), channel_base=64, channel_max=4, mapping_depth=1, batch=2
    )
    bound = convolution_bound(config, CPU, torch.float32)
    assert 0 < bound.train_images_per_second < bound.generate_images_per_second
