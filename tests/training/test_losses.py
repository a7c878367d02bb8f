"""Properties of the objective that golden numbers do not show."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from capriccio.training import losses
from capriccio.training.losses import path_length_cotangent
from tests.training.tiny import CPU, draws, reals, run_config, trained_state


@pytest.fixture(scope="module")
def state():
    return trained_state(run_config(), 3)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_cotangent_of_path_lengths_is_what_autograd_finds(parts):
    lengths = (torch.rand(6, dtype=torch.float64) + 0.5).requires_grad_()
    mean_before, weight, decay = torch.tensor(0.7, dtype=torch.float64), 2.0, 0.01
    mean = mean_before + decay * (lengths.mean() - mean_before)  # the new mean depends on the lengths
    ((lengths - mean).square().mean() * weight).backward()
    cotangents = torch.empty(6, dtype=torch.float64)
    for rank in range(parts):
        step = path_length_cotangent(
            lengths[rank::parts], mean_before, total=lengths.detach().sum(), count=6, weight=weight, decay=decay
        )
        cotangents[rank::parts] = step.cotangent
        torch.testing.assert_close(step.pl_mean, mean.detach())
    torch.testing.assert_close(cotangents, lengths.grad)


def test_r1_is_the_squared_gradient_that_autograd_finds(state):
    config = run_config()
    images = reals(config).reals.clone().requires_grad_()
    expected = torch.autograd.grad(state.discriminator(images).sum(), images)[0].square().sum(dim=(1, 2, 3))
    output = losses.r1_penalty(state.discriminator, images.detach(), None, gamma=3.0)
    torch.testing.assert_close(output.statistics["Loss/r1_penalty"], expected)
    torch.testing.assert_close(output.loss, 1.5 * expected.mean())


def test_path_lengths_grow_with_the_images(state):
    config = run_config()
    generator = trained_state(config, 0).generator
    given = draws(config, state).generator_inputs("Greg", 0, 4), draws(config, state).pl_noise(0, 4)
    before, _ = losses.path_lengths(generator, *given)
    with torch.no_grad():
        for block in generator.synthesis.blocks.values():
            block.to_rgb.weight.mul_(3)
    after, _ = losses.path_lengths(generator, *given)
    torch.testing.assert_close(after, 3 * before)


def test_fakes_and_reals_in_one_batch_give_the_logits_of_two(state):
    config = run_config()
    inputs, images = draws(config, state).generator_inputs("Dmain", 0, 4), reals(config).reals
    output = losses.discriminator_main(state.generator, state.discriminator, inputs, images, None)
    ws, _ = losses.styles(state.generator, inputs)
    fakes = state.generator.synthesis(ws, inputs.noise)
    expected = F.softplus(state.discriminator(fakes)) + F.softplus(-state.discriminator(images))
    # Batches of 8 and of 4 round differently; mixed statistics would show in the second digit.
    torch.testing.assert_close(output.statistics["Loss/D/loss"], expected, rtol=1e-4, atol=1e-5)


def test_no_gradient_reaches_the_generator_from_the_discriminators_step():
    config = run_config()
    fresh = trained_state(config, 0)
    fresh.generator.requires_grad_(True)
    fresh.discriminator.requires_grad_(True)
    inputs = draws(config, fresh).generator_inputs("Dmain", 0, 4)
    losses.discriminator_main(fresh.generator, fresh.discriminator, inputs, reals(config).reals, None).loss.backward()
    assert all(p.grad is None for p in fresh.generator.parameters())
    assert all(p.grad is not None for p in fresh.discriminator.parameters())


def test_unmixed_rows_come_from_z_alone(state):
    inputs = draws(run_config(), state).generator_inputs("Gmain", 0, 4)
    unmixed = inputs._replace(mixed_rows=torch.zeros_like(inputs.mixed_rows))
    ws, w_mean = losses.styles(state.generator, unmixed)
    w = state.generator.mapping(inputs.z, None)
    assert torch.equal(ws, w[:, None].expand_as(ws))
    torch.testing.assert_close(w_mean, w.mean(dim=0))
    assert w_mean.device == CPU
