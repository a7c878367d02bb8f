"""The cloud of latents in W."""

from __future__ import annotations

import torch

from capriccio.config import GeneratorConfig, ImageShape, MappingConfig
from capriccio.latent.cloud import cloud, spread
from capriccio.networks.generator import Generator


def test_the_spread_is_measured_from_the_middle_wherever_that_is():
    latents = torch.tensor([[3.0, 4.0], [-3.0, -4.0]])
    assert spread(latents) == spread(latents + 7) == 5


def test_a_smaller_cloud_is_the_beginning_of_a_larger_one():
    config = GeneratorConfig(z_dim=4, w_dim=3, c_dim=2, shape=ImageShape(height=8, width=8), channel_base=16,
                             channel_max=4, mapping=MappingConfig(num_layers=1))  # fmt: skip
    generator, label = Generator(config), torch.tensor([[0.0, 1.0]])
    whole = cloud(generator, label, 2500)  # more than are mapped at once
    assert whole.shape == (2500, 3)
    torch.testing.assert_close(whole[:8], cloud(generator, label, 8))
