from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from capriccio.bench.flops import discriminator_flops, generator_flops, judged_flops, training_flops
from capriccio.bench.workload import bench_run
from capriccio.config import GeneratorConfig, ImageShape, MappingConfig
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator


def run(size=(64, 64), base=4096, most=256):
    shape = ImageShape(channels=3, height=size[0], width=size[1])
    return bench_run(shape, channel_base=base, channel_max=most, mapping_depth=2, batch=16)


def test_the_formula_gives_the_fixed_figures_of_the_default_configuration():
    assert generator_flops(run().generator) == pytest.approx(1.42e9, rel=0.005)
    assert training_flops(run()) == pytest.approx(19.3e9, rel=0.015)
    assert judged_flops(run(), run()) == (19.3e9, 1.42e9)


def test_a_network_counted_by_hand():
    config = GeneratorConfig(
        z_dim=5, w_dim=7, shape=ImageShape(channels=3, height=8, width=8), channel_base=16, channel_max=4,
        mapping=MappingConfig(num_layers=1),
    )  # fmt: skip
    wide, narrow = config.channels_at(4), config.channels_at(8)
    assert (wide, narrow) == (4, 2)
    mapping = 5 * 7
    level_4 = 9 * 4 * 4 * 16 + 7 * 4 + 4 * 3 * 16 + 7 * 4
    up = 9 * 4 * 2 * 16 + 7 * 4 + 16 * 2 * 64 + 16 * 3 * 64  # convolution on 4×4, two filters on 8×8
    level_8 = 9 * 2 * 2 * 64 + 7 * 2 + 2 * 3 * 64 + 7 * 2
    assert generator_flops(config) == 2 * (mapping + level_4 + up + level_8)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_the_formula_agrees_with_what_pytorch_counts(architecture, size):
    config = run(size, base=512, most=32)
    generator = Generator(replace(config.generator, architecture=architecture))
    discriminator = Discriminator(replace(config.discriminator, architecture=architecture))
    with torch.no_grad(), FlopCounterMode(display=False) as counted_g:
        images = generator(torch.randn(2, 512))
    with torch.no_grad(), FlopCounterMode(display=False) as counted_d:
        discriminator(images)
    # PyTorch also counts sums written as products, and filters where they are applied; one in twenty.
    assert generator_flops(generator.config) * 2 == pytest.approx(counted_g.get_total_flops(), rel=0.05)
    assert discriminator_flops(discriminator.config) * 2 == pytest.approx(counted_d.get_total_flops(), rel=0.05)


def test_without_regularisers_an_iteration_is_its_two_main_phases():
    config = run(base=512, most=32)
    bare = replace(config, loss=replace(config.loss, pl_weight=0.0, r1_gamma=0.0))
    g, d = generator_flops(config.generator), discriminator_flops(config.discriminator)
    assert training_flops(bare) == 4 * g + 8 * d
    assert training_flops(config) == pytest.approx(4.75 * g + 8.375 * d)
