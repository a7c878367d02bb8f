"""Losses, their gradients and two whole training iterations reproduce the golden numbers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from capriccio.config import EmaConfig, LossConfig, OptimizerConfig, RunConfig
from capriccio.interop.names import to_field_name
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.processes import Processes
from capriccio.training import losses
from capriccio.training.ema import ema_beta
from capriccio.training.iteration import Batch, Phases, Trainer
from capriccio.training.losses import GeneratorInputs
from capriccio.training.state import assemble
from capriccio.training.statistics import Statistics
from tests.parity.golden import Golden, close, discriminator_config, fill, generator_config, of_kind

CPU = torch.device("cpu")


def inputs_of(config, z: Tensor, c: Tensor | None) -> GeneratorInputs:
    return GeneratorInputs(z=z, z_mix=z, mixed_rows=torch.zeros(config.num_ws, dtype=torch.bool), c=c, noise="const")


def assert_gradients(network, golden: Golden, prefix: str) -> None:
    expected = golden.under(prefix)
    for name, p in network.named_parameters():
        reference = expected.pop(to_field_name(name))
        actual = torch.zeros_like(p) if p.grad is None else p.grad
        worst = (actual - reference).abs().max()
        assert worst <= 1e-3 * reference.abs().max() + 1e-6, (prefix, name, float(worst))
    assert not expected


@pytest.mark.parametrize("golden", of_kind("losses"), ids=str)
def test_losses_and_gradients(golden: Golden):
    config = golden.config
    generator = Generator(generator_config(config["G"]))
    discriminator = Discriminator(discriminator_config(config["D"]))
    fill(generator, golden.under("param/G."))
    fill(discriminator, golden.under("param/D."))
    z, c, reals = golden["in/z"], golden.tensors.get("in/gen_c"), golden["in/real"]
    inputs = inputs_of(generator.config, z, c)

    def check(phase: str, statistics: dict[str, Tensor]) -> None:
        expected = golden.under(f"out/{phase}/")
        for name, values in statistics.items():
            close(values.reshape(-1), expected.pop(name).reshape(-1))
        assert not expected

    output = losses.generator_main(generator, discriminator, inputs)
    output.loss.backward()
    check("Gmain", output.statistics)
    assert_gradients(generator, golden, "grad/Gmain/G.")
    generator.mapping.track(output.w_mean)
    close(generator.w_avg, golden["out/w_avg_after_Gmain"])

    generator.zero_grad()
    half = len(z) // config["pl_batch_shrink"]
    lengths, _ = losses.path_lengths(
        generator, inputs_of(generator.config, z[:half], None if c is None else c[:half]), golden["in/pl_noise"]
    )
    step = losses.path_length_cotangent(
        lengths,
        torch.tensor(config["pl_mean_before"]),
        total=lengths.detach().sum(),
        count=half,
        weight=config["pl_weight"],
        decay=config["pl_decay"],
    )
    lengths.backward(step.cotangent)
    check("Greg", {"Loss/pl_penalty": step.penalties, "Loss/G/reg": step.penalties * config["pl_weight"]})
    close(step.pl_mean, golden["out/pl_mean_after"])
    assert_gradients(generator, golden, "grad/Greg/G.")

    discriminator.zero_grad()
    output = losses.discriminator_main(generator, discriminator, inputs, reals, golden.tensors.get("in/real_c"))
    output.loss.backward()
    check("Dmain", output.statistics)
    assert_gradients(discriminator, golden, "grad/Dmain/D.")

    discriminator.zero_grad()
    output = losses.r1_penalty(discriminator, reals, golden.tensors.get("in/real_c"), gamma=config["r1_gamma"])
    output.loss.backward()
    check("Dreg", output.statistics)
    assert_gradients(discriminator, golden, "grad/Dreg/D.")


@dataclass(frozen=True)
class GivenDraws:
    """The fixture's latents instead of random ones."""

    golden: Golden
    iteration: int
    config: object

    def generator_inputs(self, phase, round_index, count) -> GeneratorInputs:
        first = round_index * self.golden.config["batch_per_round"]
        z = self.golden[f"in/it{self.iteration}/{phase}.z"][first : first + count]
        return inputs_of(self.config, z, None)

    def augmentation(self, occasion, kind, round_index, count) -> None:
        return None

    def pl_noise(self, round_index, count) -> Tensor:
        return self.golden[f"in/it{self.iteration}/Greg.pl_noise.round{round_index}"]


@pytest.mark.parametrize("golden", of_kind("train_iterations"), ids=str)
def test_training_iterations(golden: Golden):
    config, variant = golden.config, golden.config["variant"]
    run = RunConfig(
        generator=generator_config(config["G"]),
        discriminator=discriminator_config(config["D"]),
        loss=LossConfig(
            r1_gamma=config["r1_gamma"],
            r1_interval=config["d_reg_interval"],
            pl_weight=config["pl_weight"],
            pl_interval=config["g_reg_interval"],
            pl_decay=config["pl_decay"],
            pl_batch_shrink=config["pl_batch_shrink"],
            mixing_prob=config["style_mixing_prob"],
            w_avg_updates="every-pass" if variant == "ada" else "discriminator-pass",
            zero_gradients="zeros" if variant == "ada" else "absent",
        ),
        optimizer=OptimizerConfig(
            generator_lr=config["lr"],
            discriminator_lr=config["lr"],
            beta1=config["betas"][0],
            beta2=config["betas"][1],
            eps=config["adam_eps"],
            accumulation="sum",
        ),
        ema=EmaConfig(half_life_kimg=config["ema_kimg"], rampup=config["ema_rampup"]),
        batch=config["batch"],
        batch_per_round=config["batch_per_round"],
    )
    generator, average = Generator(run.generator), Generator(run.generator)
    discriminator = Discriminator(run.discriminator)
    fill(generator, golden.under("param/G."))
    fill(discriminator, golden.under("param/D."))
    fill(average, golden.under("param/G_ema."))
    state = assemble(run, generator, discriminator, average, CPU)
    state.nimg, state.iteration = config["nimg_before"], config["first_iteration_index"]
    state.pl_mean.fill_(config["pl_mean_before"])
    seen_norms = 0

    for i in range(config["iterations"]):

        def check_gradients(phase, parameters, i=i):
            nonlocal seen_norms
            letter, network = ("G", generator) if phase.startswith("G") else ("D", discriminator)
            expected = golden.under(f"gradnorm/it{i}/{phase}/{letter}.")
            for name, p in network.named_parameters():
                norm = torch.zeros((), dtype=torch.float64) if p.grad is None else p.grad.double().norm()
                close(norm, expected.pop(to_field_name(name)), atol=1e-5, rtol=1e-3)
                seen_norms += 1
            assert not expected

        assert ema_beta(run.ema, nimg=state.nimg, batch=run.batch) == pytest.approx(
            float(golden[f"out/it{i}/ema_beta"])
        )
        trainer = Trainer(run, Processes(), Phases(), Statistics(CPU), after_phase=check_gradients)
        batch = Batch(golden[f"in/it{i}/real"], None)
        trainer.run(state, batch, GivenDraws(golden, i, run.generator), round_size=config["batch_per_round"])
        close(state.pl_mean, golden[f"out/it{i}/pl_mean"])
        for letter, network in (("G", generator), ("D", discriminator), ("G_ema", average)):
            for name, p in network.named_parameters():
                close(p.double().norm(), golden[f"norm/it{i}/{letter}.{to_field_name(name)}"], atol=1e-6, rtol=1e-4)
    assert seen_norms

    for letter, network in (("G", generator), ("D", discriminator), ("G_ema", average)):
        expected = golden.under(f"after/{letter}.")
        ours = {to_field_name(n): t for n, t in network.state_dict().items()}
        for name, reference in expected.items():
            # Adam turns the sign of a near-zero gradient into a full step: a few elements may differ.
            off = ((ours[name] - reference).abs() > 1e-4).double().mean()
            assert off <= 0.001 or off * reference.numel() < 1, (letter, name, float(off))
