from __future__ import annotations

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from tests.networks.conftest import discriminator_config, generator_config

SHAPES = [
    ImageShape(channels=3, height=16, width=16),
    ImageShape(channels=1, height=32, width=48),
    ImageShape(channels=4, height=24, width=8),
    ImageShape(channels=7, height=10, width=14),
]


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_and_channel_count_goes_through_both_networks(shape, architecture):
    generator = Generator(generator_config(shape, architecture=architecture))
    discriminator = Discriminator(discriminator_config(shape, architecture=architecture))
    images = generator(torch.randn(3, 8))
    assert images.shape == (3, shape.channels, shape.height, shape.width)
    assert images.dtype == torch.float32
    logits = discriminator(images)
    assert logits.shape == (3, 1)
    assert logits.isfinite().all()
    logits.sum().backward()
    unreached = [n for n, p in [*generator.named_parameters(), *discriminator.named_parameters()] if p.grad is None]
    assert not unreached


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_feature_maps_follow_the_start_grid(shape):
    generator = Generator(generator_config(shape))
    outputs = generator.synthesis.features(generator.ws(torch.randn(1, 8)))
    assert [tuple(x.shape[2:]) for x, _ in outputs] == [shape.size_at(level) for level in shape.levels]
    assert generator.num_ws == 2 * len(shape.levels)
    assert generator.synthesis.noise_shapes()[-1] == (shape.height, shape.width)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 12])
def test_minibatch_statistics_take_any_batch(batch):
    discriminator = Discriminator(discriminator_config())
    assert discriminator(torch.randn(batch, 3, 16, 16)).isfinite().all()


def test_two_sets_in_one_batch_are_judged_as_if_apart():
    discriminator = Discriminator(discriminator_config()).double()
    fakes, reals = torch.randn(2, 8, 3, 16, 16, dtype=torch.float64)
    together = discriminator(torch.cat([fakes, reals]), num_sets=2)
    apart = torch.cat([discriminator(fakes), discriminator(reals)])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_labels_change_pictures_and_logits_of_conditional_networks():
    generator = Generator(generator_config(c_dim=3))
    discriminator = Discriminator(discriminator_config(c_dim=3))
    z, labels = torch.randn(1, 8).repeat(2, 1), torch.eye(3)[:2]
    with torch.no_grad():
        images = generator(z, labels)
        logits = discriminator(images[:1].repeat(2, 1, 1, 1), labels)
    assert (images[0] - images[1]).abs().max() > 1e-3
    assert (logits[0] - logits[1]).abs() > 1e-6
