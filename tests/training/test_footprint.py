"""Counting on shapes agrees with counting by hand and with tensors that exist."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.config import ImageShape, RunConfig
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.training.footprint import _Count, footprint

SHAPE = ImageShape(height=16, width=24)


@pytest.fixture(scope="module")
def tiny() -> RunConfig:
    return preset("tiny", SHAPE)


def test_parameters_are_those_of_the_real_networks(tiny):
    needs = footprint(tiny, round_size=4)
    assert needs.generator_parameters == sum(p.numel() for p in Generator(tiny.generator).parameters())
    assert needs.discriminator_parameters == sum(p.numel() for p in Discriminator(tiny.discriminator).parameters())


def test_a_convolution_is_counted_as_two_operations_per_multiply_add():
    with _Count() as count:
        torch.nn.functional.conv2d(torch.empty(2, 3, 8, 8, device="meta"), torch.empty(5, 3, 3, 3, device="meta"))
    assert count.flops == 2 * 2 * 5 * 6 * 6 * 3 * 9


def test_only_tensors_that_live_at_the_same_time_add_up():
    with _Count() as count:
        for _ in range(10):
            torch.empty(1000, device="meta") + 1
        kept = [torch.ones(500, device="meta") for _ in range(2)]
    assert len(kept) == 2
    assert count.peak_bytes == 2 * 4000  # the operand and the sum; the two that were kept are smaller


def test_activations_grow_with_the_round_and_arithmetic_per_image_does_not(tiny):
    small, large = footprint(tiny, round_size=4), footprint(tiny, round_size=16)
    assert 3 < large.phase_bytes / small.phase_bytes < 4.5
    assert large.flops_per_image == pytest.approx(small.flops_per_image, rel=0.05)
    assert large.state_bytes == small.state_bytes


def test_regularisers_are_counted_at_their_share(tiny):
    def flops(**loss: float) -> float:
        return footprint(replace(tiny, loss=replace(tiny.loss, **loss)), round_size=4).flops_per_image

    bare = flops(pl_weight=0.0, r1_gamma=0.0)
    every, every_other = flops(pl_weight=0.0, r1_interval=1), flops(pl_weight=0.0, r1_interval=2)
    assert every_other - bare == pytest.approx((every - bare) / 2)
    assert every > every_other > bare


def test_low_precision_needs_less_memory(tiny):
    assert footprint(tiny, round_size=16, dtype=torch.bfloat16).phase_bytes < footprint(tiny, round_size=16).phase_bytes
