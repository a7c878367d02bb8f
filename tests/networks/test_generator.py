from __future__ import annotations

import copy

import pytest
import torch

from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from tests.networks.conftest import discriminator_config, generator_config


@pytest.fixture
def generator():
    network = Generator(generator_config()).requires_grad_(False)
    for conv in network.synthesis.styled_convs():
        conv.noise_strength.fill_(0.5)
    return network


def test_const_noise_is_the_stored_maps_and_none_is_no_noise(generator):
    ws = generator.ws(torch.randn(2, 8))
    stored = [m[None, None] for m in generator.synthesis.noise_consts()]
    silent = [torch.zeros_like(m) for m in stored]
    assert torch.equal(generator.synthesis(ws, "const"), generator.synthesis(ws, stored))
    torch.testing.assert_close(generator.synthesis(ws, "none"), generator.synthesis(ws, silent))
    assert not torch.equal(generator.synthesis(ws, "const"), generator.synthesis(ws, "none"))


def test_every_image_takes_its_own_noise(generator):
    ws = generator.ws(torch.randn(1, 8)).repeat(2, 1, 1)
    images = generator.synthesis(ws, generator.draw_noise(2, torch.Generator().manual_seed(1)))
    assert not torch.equal(images[0], images[1])


def test_a_network_without_noise_has_no_maps_and_no_strengths():
    network = Generator(generator_config(use_noise=False))
    assert not network.synthesis.noise_shapes()
    assert not [name for name in network.state_dict() if "noise" in name]
    assert network(torch.randn(1, 8)).isfinite().all()


def test_the_running_mean_moves_only_when_told(generator):
    before = generator.w_avg.clone()
    generator(torch.randn(4, 8))
    assert torch.equal(generator.w_avg, before)
    generator.mapping.track(torch.ones(6))
    torch.testing.assert_close(generator.w_avg, before + 0.005 * (torch.ones(6) - before))


def test_freezing_stops_the_first_layers_only():
    discriminator = Discriminator(discriminator_config(freeze_layers=5))
    frozen = discriminator.freeze()
    assert frozen == [
        "blocks.16.from_rgb.weight",
        "blocks.16.from_rgb.bias",
        "blocks.16.conv0.weight",
        "blocks.16.conv0.bias",
        "blocks.16.conv1.weight",
        "blocks.16.conv1.bias",
        "blocks.16.skip.weight",
        "blocks.8.conv0.weight",
        "blocks.8.conv0.bias",
    ]


def test_tensor_names_are_the_contract_of_stored_networks():
    names = {n for n in Generator(generator_config()).state_dict() if n.startswith("synthesis.blocks.8.")}
    layer = ["affine.weight", "affine.bias", "weight", "bias", "noise_strength", "noise_const"]
    expected = {f"synthesis.blocks.8.{conv}.{n}" for conv in ("conv0", "conv1") for n in layer}
    expected |= {f"synthesis.blocks.8.to_rgb.{n}" for n in ("affine.weight", "affine.bias", "weight", "bias")}
    assert names == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_paints_what_the_processor_paints(generator):
    ws = generator.ws(torch.randn(4, 8))
    expected = generator.synthesis(ws)
    # PyTorch lets GPUs round the factors of float32 convolutions to TF32: here by 0.003, less than half a grey level.
    torch.testing.assert_close(generator.cuda().synthesis(ws.cuda()).cpu(), expected, atol=1 / 255, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("change", ["in place", "loaded", "replaced", "precision", "fused step"])
def test_what_is_kept_for_generating_follows_every_change_of_the_weights(generator, change):
    def fresh(ws):
        with torch.enable_grad():  # where derivatives are recorded nothing is kept
            return generator.synthesis(ws, "const").detach()

    generator.eval()
    ws = generator.ws(torch.randn(2, 8))
    before = generator.synthesis(ws, "const")
    assert torch.equal(before, generator.synthesis(ws, "const"))
    torch.testing.assert_close(before, fresh(ws))
    generator.synthesis(ws, "const")
    other = Generator(generator_config()).requires_grad_(False)
    match change:
        case "in place":
            for p, q in zip(generator.parameters(), other.parameters(), strict=True):
                p.lerp_(q, 0.5)
        case "loaded":
            generator.load_state_dict(other.state_dict())
        case "replaced":
            for conv, new in zip(generator.synthesis.styled_convs(), other.synthesis.styled_convs(), strict=True):
                conv.weight = new.weight
        case "precision":
            generator.set_precision(torch.bfloat16)
        case "fused step":
            weights = [conv.weight.requires_grad_(True) for conv in generator.synthesis.styled_convs()]
            optimizer = torch.optim.Adam(weights, lr=0.1, fused=True)
            with torch.enable_grad():
                generator.synthesis(ws, "const").square().mean().backward()
            optimizer.step()
    after = generator.synthesis(ws, "const")
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, fresh(ws))


@torch.no_grad()
def test_a_copy_that_is_changed_paints_what_it_became(generator):
    # Once changed, the copy's weights have the version that the loaded ones had: versions count anew in copies.
    generator.eval().load_state_dict(Generator(generator_config()).state_dict())
    ws = generator.ws(torch.randn(2, 8))
    generator.synthesis(ws, "const")
    twin = copy.deepcopy(generator)
    for conv in twin.synthesis.styled_convs():
        conv.weight += torch.randn_like(conv.weight)
    painted = twin.synthesis(ws, "const")
    with torch.enable_grad():  # where derivatives are recorded nothing is kept
        torch.testing.assert_close(painted, twin.synthesis(ws, "const").detach())
