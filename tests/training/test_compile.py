"""The four phases compile as one graph each, and give the numbers of the eager form.

Why the regularisers differentiate with ``torch.func.grad``: the other spellings of a double derivative fail under the
compiler, or are silently wrong. The last tests hold on to that table; when one fails with a newer PyTorch, look again.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from capriccio.config import AugmentConfig, ImageShape
from capriccio.training import losses
from capriccio.training.iteration import Phases, compiled_phases
from tests.training.tiny import draws, reals, run_config, trained_state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("c_dim", "shape", "augment"),
    [
        (0, ImageShape(height=16, width=16), AugmentConfig()),
        (3, ImageShape(height=8, width=12), AugmentConfig()),
        (0, ImageShape(height=24, width=32), AugmentConfig(mode="fixed", pipe="bgcfnc", p=0.7)),
    ],
    ids=["plain", "labels", "augmented"],
)
def test_every_phase_compiles_whole_and_gives_eager_numbers(c_dim, shape, augment):
    config = replace(run_config(shape=shape, c_dim=c_dim), augment=augment)
    state = trained_state(config, 2)
    with torch.no_grad():  # noise must matter
        for conv in state.generator.synthesis.styled_convs():
            conv.noise_strength.fill_(0.3)
    batch = reals(config)
    torch.compiler.reset()

    def numbers(phases: Phases, *, fixed_shape: bool) -> dict[str, list[Tensor]]:
        # Augmentation has sizes of its own in eager phases; in compiled ones they must not depend on what was drawn.
        random = replace(draws(config, state), fixed_shape=fixed_shape)
        g, d = state.generator, state.discriminator
        found: dict[str, list[Tensor]] = {}

        def note(name: str, network: nn.Module, output: tuple[Tensor, ...], cotangent: Tensor | None = None) -> None:
            torch.autograd.backward(output[0], cotangent)
            found[name] = [t.detach() for t in output if t is not None]
            found[name] += [p.grad.clone() for p in network.parameters() if p.grad is not None]
            network.zero_grad()
            network.requires_grad_(False)

        g.requires_grad_(True)
        main = phases.generator_main(
            g, d, random.generator_inputs("Gmain", 0, 4), random.augmentation("Gmain", "fakes", 0, 4)
        )
        note("Gmain", g, (main.loss, main.w_mean, *main.statistics.values()))
        g.requires_grad_(True)
        lengths, w_mean = phases.path_lengths(g, random.generator_inputs("Greg", 0, 2), random.pl_noise(0, 2))
        note("Greg", g, (lengths, w_mean), torch.tensor([0.5, -2.0]))
        d.requires_grad_(True)
        fakes, pictures = (random.augmentation("Dmain", kind, 0, 4) for kind in ("fakes", "reals"))
        main = phases.discriminator_main(
            g, d, random.generator_inputs("Dmain", 0, 4), batch.reals, batch.labels, fakes, pictures
        )
        note("Dmain", d, (main.loss, main.w_mean, *main.statistics.values()))
        d.requires_grad_(True)
        r1 = phases.r1_penalty(d, batch.reals, batch.labels, random.augmentation("Dreg", "reals", 0, 4), gamma=2.0)
        note("Dreg", d, (r1.loss, *r1.statistics.values()))
        return found

    eager = numbers(Phases(), fixed_shape=False)
    compiled = numbers(compiled_phases(backend="aot_eager"), fixed_shape=True)
    for name, expected in eager.items():
        assert len(compiled[name]) == len(expected)
        for ours, theirs in zip(compiled[name], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


# ---- why torch.func.grad


def judge() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 36, 1))


def expected_gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    gradient.square().sum().backward()
    found = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    return found


def test_row_a_differentiating_a_compiled_network_twice_fails():
    torch.compiler.reset()
    network, images = judge(), torch.randn(2, 3, 8, 8, requires_grad=True)
    compiled = torch.compile(network, backend="aot_eager")

    def differentiate_twice() -> None:
        (gradient,) = torch.autograd.grad(compiled(images).sum(), images, create_graph=True)
        gradient.square().sum().backward()

    with pytest.raises(RuntimeError, match=r"double backward|create_graph"):
        differentiate_twice()


def test_row_e_func_grad_inside_the_compiled_function_is_right():
    torch.compiler.reset()
    network, images = judge(), torch.randn(2, 3, 8, 8)

    def penalty(x: Tensor) -> Tensor:
        gradient: Tensor = torch.func.grad(lambda y: network(y).sum())(x)
        return gradient.square().sum()

    torch.compile(penalty, backend="aot_eager", fullgraph=True)(images).backward()
    found = [p.grad for p in network.parameters() if p.grad is not None]
    for ours, theirs in zip(found, expected_gradients(judge(), images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_in_the_eager_form_func_grad_is_autograd_bit_for_bit():
    config = run_config()
    state = trained_state(config, 1)
    images = reals(config).reals
    state.discriminator.requires_grad_(True)
    losses.r1_penalty(state.discriminator, images, None, gamma=2.0).loss.backward()
    ours = {name: p.grad.clone() for name, p in state.discriminator.named_parameters() if p.grad is not None}
    state.discriminator.zero_grad()
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(state.discriminator(leaf).sum(), leaf, create_graph=True)
    gradient.square().sum(dim=(1, 2, 3)).mean().backward()
    for name, p in state.discriminator.named_parameters():
        if p.grad is not None:
            assert torch.equal(ours[name], p.grad), name
