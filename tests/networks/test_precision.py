from __future__ import annotations

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.networks.precision import low_precision_levels
from tests.networks.conftest import discriminator_config, generator_config


@pytest.mark.parametrize(
    ("levels", "count", "expected"),
    [
        ((4, 8, 16, 32, 64), 4, (8, 16, 32, 64)),
        ((4, 8, 16, 32, 64, 128, 256, 512, 1024), 4, (128, 256, 512, 1024)),
        ((4, 8, 16), 4, (8, 16)),
        ((4, 8, 16), 0, ()),
    ],
)
def test_the_highest_levels_are_in_low_precision_and_never_level_4(levels, count, expected):
    assert low_precision_levels(levels, count) == expected


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_follows_float32(dtype, architecture):
    shape = ImageShape(height=32, width=32)
    generator = Generator(generator_config(shape, architecture=architecture, conv_clamp=256.0)).requires_grad_(False)
    discriminator = Discriminator(discriminator_config(shape, architecture=architecture, conv_clamp=256.0))
    discriminator.requires_grad_(False)
    z = torch.randn(4, 8)
    exact = generator(z)
    exact_logits = discriminator(exact)
    generator.set_precision(dtype)
    discriminator.set_precision(dtype)
    images, logits = generator(z), discriminator(exact)
    assert images.dtype == logits.dtype == torch.float32
    features = dict(zip(shape.levels, generator.synthesis.features(generator.ws(z)), strict=True))
    assert {level: x.dtype for level, (x, _) in features.items()} == {
        level: torch.float32 if level == 4 else dtype for level in shape.levels
    }
    for low, high in ((images, exact), (logits, exact_logits)):
        cosine = torch.nn.functional.cosine_similarity(low.flatten(), high.flatten(), dim=0)
        assert cosine > 0.995
        assert not torch.equal(low, high)


def test_activations_are_clamped_and_the_clamp_scales_with_residual_gains():
    config = generator_config(architecture="resnet", conv_clamp=0.3)
    generator = Generator(config).requires_grad_(False)
    outputs = generator.synthesis.features(generator.ws(torch.randn(2, 8)))
    assert outputs[0][0].abs().max() <= 0.3 + 1e-6
    image = outputs[-1][1]
    assert image.abs().max() <= 0.3 + 1e-6
