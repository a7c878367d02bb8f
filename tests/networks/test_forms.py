"""A network computes the same pictures, logits and gradients in every form of its operations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.config import FormsConfig, ImageShape
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.forms import settled_forms
from capriccio.networks.generator import Generator
from capriccio.training.iteration import Phases, compiled_phases
from capriccio.training.state import new_state
from tests.networks.conftest import discriminator_config, generator_config
from tests.training.tiny import CPU, draws, reals, run_config

FORMS = [
    FormsConfig(fir="shifted", epilogue="pointwise"),
    FormsConfig(rgb="pointwise"),
    FormsConfig(fir="triton", up="phases"),
    FormsConfig(up="folded", layout="contiguous"),
]


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("forms", FORMS, ids=str)
def test_pictures_and_logits_are_those_of_the_plain_forms(architecture, forms):
    shape = ImageShape(height=16, width=24)
    generator = Generator(generator_config(architecture=architecture, shape=shape)).requires_grad_(False).eval()
    discriminator = Discriminator(discriminator_config(architecture=architecture, shape=shape)).requires_grad_(False)
    for conv in generator.synthesis.styled_convs():
        conv.noise_strength.fill_(0.5)
    z = torch.randn(3, 8)
    images = generator(z)
    logits = discriminator(images)
    for network in (generator, discriminator):
        network.set_forms(forms)
    torch.testing.assert_close(generator(z), images, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(discriminator(images), logits, atol=1e-5, rtol=1e-4)


def gradients(config, phases: Phases):
    """Return the gradients of all four phases of one state, by phase."""
    state = new_state(config, CPU)
    random, batch = draws(config, state), reals(config)
    g, d = state.generator, state.discriminator
    found = {}

    def note(name, network, value, cotangent=None):
        torch.autograd.backward(value, cotangent)
        found[name] = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        network.zero_grad()
        network.requires_grad_(False)

    g.requires_grad_(True)
    note("Gmain", g, phases.generator_main(g, d, random.generator_inputs("Gmain", 0, 4)).loss)
    g.requires_grad_(True)
    lengths, _ = phases.path_lengths(g, random.generator_inputs("Greg", 0, 2), random.pl_noise(0, 2))
    note("Greg", g, lengths, torch.tensor([0.5, -2.0]))
    d.requires_grad_(True)
    inputs = random.generator_inputs("Dmain", 0, 4)
    note("Dmain", d, phases.discriminator_main(g, d, inputs, batch.reals, batch.labels).loss)
    d.requires_grad_(True)
    note("Dreg", d, phases.r1_penalty(d, batch.reals, batch.labels, gamma=2.0).loss)
    return found


@pytest.mark.parametrize("forms", FORMS, ids=str)
def test_every_phase_has_the_gradients_of_the_plain_forms(forms):
    plain = gradients(run_config(), Phases())
    for name, mine in gradients(replace(run_config(), forms=forms), Phases()).items():
        for a, b in zip(mine, plain[name], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.slow
@pytest.mark.parametrize("forms", FORMS, ids=str)
def test_every_phase_compiles_whole_in_every_form(forms):
    torch.compiler.reset()
    plain = gradients(run_config(), Phases())
    compiled = gradients(replace(run_config(), forms=forms), compiled_phases(backend="aot_eager"))
    for name, mine in compiled.items():
        for a, b in zip(mine, plain[name], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_a_run_computes_in_the_forms_of_its_configuration():
    forms = FormsConfig(fir="shifted", up="phases", epilogue="pointwise", rgb="pointwise", layout="channels_last")
    state = new_state(replace(run_config(), forms=forms), CPU)
    for network in (state.generator, state.generator_ema, state.discriminator):
        assert {module.forms for module in network.modules() if hasattr(module, "forms")} == {forms}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_left_to_the_device_is_decided_and_what_was_asked_for_stays(device):
    settled = settled_forms(FormsConfig(up="folded"), torch.device(device))
    assert settled.up == "folded"
    assert "auto" not in (settled.fir, settled.epilogue, settled.layout)
    assert settled.epilogue == {"cpu": "matrix", "cuda": "pointwise"}[device]
