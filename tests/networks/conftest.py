from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape, MappingConfig


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def generator_config(shape=None, **changes) -> GeneratorConfig:
    shape = shape or ImageShape(height=16, width=16)
    config = GeneratorConfig(
        z_dim=8, w_dim=6, shape=shape, channel_base=128, channel_max=8, mapping=MappingConfig(num_layers=2)
    )
    return replace(config, **changes)


def discriminator_config(shape=None, **changes) -> DiscriminatorConfig:
    shape = shape or ImageShape(height=16, width=16)
    config = DiscriminatorConfig(shape=shape, channel_base=128, channel_max=8, mapping=MappingConfig(num_layers=2))
    return replace(config, **changes)
