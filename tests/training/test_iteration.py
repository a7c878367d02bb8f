"""One iteration: what it does when losses are not finite, memory runs out, layers are frozen, phases are merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from capriccio.config import ImageShape, RunConfig
from capriccio.errors import JobError
from capriccio.processes import Processes
from capriccio.training import losses
from capriccio.training.iteration import Phases, Trainer
from capriccio.training.state import new_state
from capriccio.training.statistics import Statistics
from tests.training.tiny import CPU, assert_same, draws, reals, run_config, tensors_of, trained_state

NAN = float("nan")


def with_bad_loss(phase: str, bad: float = NAN) -> Phases:
    """Return phases of which one has a loss that is not finite."""

    def broken(function: Callable[..., losses.PhaseOutput]) -> Callable[..., losses.PhaseOutput]:
        def run(*args, **options):
            output = function(*args, **options)
            return output._replace(loss=output.loss * bad)

        return run

    def broken_lengths(*args):
        lengths, w_mean = losses.path_lengths(*args)
        return lengths * bad, w_mean

    if phase == "path_lengths":
        return Phases(path_lengths=broken_lengths)
    return replace(Phases(), **{phase: broken(getattr(losses, phase))})


# ---- numbers that are not finite


@pytest.mark.parametrize("phase", ["generator_main", "path_lengths", "discriminator_main", "r1_penalty"])
@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_loss_that_is_not_finite_skips_the_step_and_nothing_else(phase, bad):
    letter = "G" if phase in ("generator_main", "path_lengths") else "D"
    config = run_config()
    # A configuration in which the broken phase is the only one that steps its network.
    alone = {
        "generator_main": {"pl_weight": 0.0},
        "discriminator_main": {"r1_gamma": 0.0},
    }.get(phase, {})
    config = replace(config, loss=replace(config.loss, **alone))
    state = trained_state(config, 2)
    before = tensors_of(state)
    statistics = Statistics(CPU)
    sound = {"path_lengths": "Gmain", "r1_penalty": "Dmain"}.get(phase)
    seen: dict[str, dict[str, torch.Tensor]] = {}

    def remember(name, parameters):
        seen[name] = {k: v for k, v in tensors_of(state).items() if k.startswith((f"{letter}.", f"Adam.{letter}."))}

    state.iteration = 0  # regularisers are due
    trainer = Trainer(config, Processes(), with_bad_loss(phase, bad), statistics, after_phase=remember)
    trainer.run(state, reals(config), draws(config, state), round_size=config.batch)
    after = {k: v for k, v in tensors_of(state).items() if k.startswith((f"{letter}.", f"Adam.{letter}."))}
    if sound is None:
        reference = {k: v for k, v in before.items() if k in after}
    else:  # the main phase stepped; what it left is what the broken regulariser found
        reference = seen["Greg" if letter == "G" else "Dreg"]
        assert any(not torch.equal(after[k], before[k]) for k in after)
    mapping_mean = "G.mapping.w_avg"  # moves with the latents, which are sound
    assert_same({k: v for k, v in after.items() if k != mapping_mean},
                {k: v for k, v in reference.items() if k != mapping_mean})  # fmt: skip
    assert all(bool(t.isfinite().all()) for t in tensors_of(state).values())
    assert statistics.take(Processes())["Numerics/skipped_steps"]["mean"] == 1


def test_skipped_steps_are_counted_in_a_row_for_each_phase_of_its_own():
    statistics = Statistics(CPU)
    bad, good = torch.ones(()), torch.zeros(())
    for _ in range(3):
        statistics.note_skipped("Gmain", bad)
        statistics.note_skipped("Dmain", good)
    assert statistics.skipped_in_a_row() == (3, "Gmain")
    statistics.note_skipped("Gmain", good)
    assert statistics.skipped_in_a_row()[0] == 0
    statistics.note_skipped("Dreg", bad)
    statistics.forget_skipped()
    assert statistics.skipped_in_a_row() == (0, "")
    taken = statistics.take(Processes())
    assert taken["Numerics/skipped_steps"]["mean"] == 4
    assert statistics.told_skipped(taken) == "3 of Gmain, 1 of Dreg"
    assert statistics.told_skipped(statistics.take(Processes())) == ""


def test_gradients_that_are_not_finite_are_replaced_and_the_step_is_made():
    config = run_config()
    state = trained_state(config, 1)

    def overflowing(*args):
        output = losses.generator_main(*args)
        # Finite loss, infinite gradient: the derivative of a root at zero.
        return output._replace(loss=output.loss + (state.generator.synthesis.blocks["4"].conv1.bias * 0).sum().sqrt())

    statistics = Statistics(CPU)
    before = tensors_of(state)
    state = trained_state(config, 1, state=state, phases=Phases(generator_main=overflowing), statistics=statistics)
    told = statistics.take(Processes())
    assert told["Numerics/sanitized_gradients"]["mean"] > 0
    assert told["Numerics/skipped_steps"]["mean"] == 0
    after = tensors_of(state)
    assert not torch.equal(after["G.synthesis.blocks.16.conv1.bias"], before["G.synthesis.blocks.16.conv1.bias"])
    assert all(bool(t.isfinite().all()) for t in after.values())


# ---- memory


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 byte")],
    ids=["cuda", "cpu"],
)
def test_for_want_of_memory_a_batch_is_split_as_if_it_had_been_asked_for(error):
    config = replace(run_config(), batch=8)
    config = replace(config, optimizer=replace(config.optimizer, beta1=0.5))

    def first_call_fails(*args):
        if len(args[2].z) > 2:
            raise error
        return losses.generator_main(*args)

    trainer = Trainer(config, Processes(), Phases(generator_main=first_call_fails), Statistics(CPU))
    state = new_state(config, CPU)
    size = trainer.run(state, reals(config), draws(config, state), round_size=8)
    assert size == 2
    assert_same(tensors_of(state), tensors_of(trained_state(config, 1, round_size=2)))


def motionless(config: RunConfig) -> RunConfig:
    """Return ``config`` with rates too small to move anything: all phases see the networks of the beginning."""
    return replace(config, optimizer=replace(config.optimizer, generator_lr=1e-30, discriminator_lr=1e-30))


def test_rounds_that_fitted_before_memory_ran_out_leave_no_trace():
    config = motionless(replace(run_config(), batch=8))
    calls = []

    def second_call_fails(*args):
        calls.append(len(args[1].z))
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses.path_lengths(*args)

    def run(phases: Phases, round_size: int):
        statistics = Statistics(CPU)
        state = new_state(config, CPU)
        trainer = Trainer(config, Processes(), phases, statistics)
        size = trainer.run(state, reals(config), draws(config, state), round_size=round_size)
        return state, statistics.take(Processes()), size

    # Path lengths take half of a round: the first round of four fits, the second does not, rounds of two do.
    failed, told, size = run(Phases(path_lengths=second_call_fails), 4)
    assert (calls, size) == ([2, 2, 1, 1, 1, 1], 2)
    small, told_small, _ = run(Phases(), 2)
    assert torch.equal(failed.pl_mean, small.pl_mean)
    assert told["Loss/pl_penalty"] == told_small["Loss/pl_penalty"]


def test_a_single_picture_that_does_not_fit_is_told():
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    config = run_config()
    with pytest.raises(JobError, match="rounds of 1 pictures; give a smaller --batch-per-round"):
        trained_state(config, 1, phases=Phases(generator_main=full))


def test_other_errors_are_not_taken_for_want_of_memory():
    def broken(*args):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        trained_state(run_config(), 1, phases=Phases(generator_main=broken))


def test_rounds_average_to_the_gradient_of_the_whole_batch():
    """Without minibatch statistics, which couple the pictures of a round, rounds change R1 in rounding only."""
    config = motionless(replace(run_config(), batch=8))
    config = replace(config, discriminator=replace(config.discriminator, mbstd_num_channels=0))

    def gradients(round_size: int) -> dict[str, torch.Tensor]:
        seen = {}

        def remember(name, parameters):
            seen[name] = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

        state = new_state(config, CPU)
        trainer = Trainer(config, Processes(), Phases(), Statistics(CPU), after_phase=remember)
        trainer.run(state, reals(config), draws(config, state), round_size=round_size)
        return seen

    # The other phases draw their latents by round.
    torch.testing.assert_close(gradients(2)["Dreg"], gradients(8)["Dreg"], rtol=1e-4, atol=1e-7)


# ---- variants of the objective


def test_without_intervals_main_and_regulariser_are_one_step():
    lazy = run_config()
    merged = replace(lazy, loss=replace(lazy.loss, r1_interval=None, pl_interval=None))
    phases: list[str] = []
    statistics = Statistics(CPU)
    state = new_state(merged, CPU)
    trainer = Trainer(merged, Processes(), Phases(), statistics, after_phase=lambda name, _: phases.append(name))
    for _ in range(3):
        trainer.run(state, reals(merged), draws(merged, state), round_size=merged.batch)
    assert phases == ["Gmain", "Dmain"] * 3
    told = statistics.take(Processes())
    assert told["Loss/r1_penalty"]["num"] == 3 * merged.batch
    assert told["Loss/pl_penalty"]["num"] == 3 * merged.batch // 2
    for optimizer, lr in ((state.generator_optimizer, 0.0025), (state.discriminator_optimizer, 0.0025)):
        assert optimizer.param_groups[0]["lr"] == lr
        assert {float(moments["step"]) for moments in optimizer.state.values()} == {3.0}


def test_the_merged_gradient_is_the_sum_of_both():
    def gradient(**loss: object) -> torch.Tensor:
        config = motionless(run_config())
        config = replace(config, loss=replace(config.loss, pl_weight=0.0, **loss))
        seen = {}

        def remember(name, parameters):
            seen[name] = torch.cat([p.grad.flatten() for p in parameters]).clone()

        state = new_state(config, CPU)
        trainer = Trainer(config, Processes(), Phases(), Statistics(CPU), after_phase=remember)
        trainer.run(state, reals(config), draws(config, state), round_size=config.batch)
        return seen["Dmain"] + seen["Dreg"] if "Dreg" in seen else seen["Dmain"]

    torch.testing.assert_close(gradient(r1_interval=None), gradient(r1_interval=1), rtol=1e-4, atol=1e-7)


def test_lazy_regularisers_run_every_k_iterations_and_weigh_k_times():
    config = run_config()
    phases: list[str] = []
    state = new_state(config, CPU)
    trainer = Trainer(config, Processes(), Phases(), Statistics(CPU), after_phase=lambda name, _: phases.append(name))
    for _ in range(5):
        trainer.run(state, reals(config), draws(config, state), round_size=config.batch)
    plain, with_pl = ["Gmain", "Dmain"], ["Gmain", "Greg", "Dmain"]
    with_both = ["Gmain", "Greg", "Dmain", "Dreg"]
    assert phases == with_both + plain + with_pl + plain + with_both


def test_frozen_layers_keep_their_weights():
    config = run_config()
    config = replace(config, discriminator=replace(config.discriminator, freeze_layers=3))
    before = {name: p.clone() for name, p in new_state(config, CPU).discriminator.named_parameters()}
    state = trained_state(config, 5)
    assert len(state.frozen) == 6  # weights and biases of three layers
    for name, p in state.discriminator.named_parameters():
        assert torch.equal(p, before[name]) == (name in state.frozen), name


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
@pytest.mark.parametrize(
    "shape",
    [
        ImageShape(channels=1, height=16, width=16),
        ImageShape(channels=4, height=16, width=16),
        ImageShape(channels=3, height=32, width=48),
    ],
    ids=str,
)
def test_any_shape_trains(shape, architecture):
    config = run_config(shape=shape)
    config = replace(
        config,
        generator=replace(config.generator, architecture=architecture),
        discriminator=replace(config.discriminator, architecture=architecture),
    )
    before = tensors_of(new_state(config, CPU))
    after = tensors_of(trained_state(config, 3))
    assert shape.start_grid == ((4, 6) if shape.width == 48 else (4, 4))
    assert after["G.synthesis.blocks.4.constant_input"].shape[1:] == shape.start_grid
    assert all(bool(t.isfinite().all()) for t in after.values())
    unmoved = [k for k in before if k.endswith(".weight") and torch.equal(before[k], after[k])]
    assert not unmoved


def test_labels_reach_both_networks():
    config = run_config(c_dim=3)
    before, after = tensors_of(new_state(config, CPU)), tensors_of(trained_state(config, 3))
    embeddings = ["G.mapping.embed.weight", "D.mapping.embed.weight"]
    assert before["G.mapping.embed.weight"].shape[1] == 3
    assert not any(torch.equal(before[name], after[name]) for name in embeddings)


def _tracked(config: RunConfig) -> torch.Tensor:
    return trained_state(config, 1).generator.w_avg


def test_the_mean_of_w_follows_every_pass_or_the_discriminators_only():
    config = run_config()
    every = _tracked(config)
    only = _tracked(replace(config, loss=replace(config.loss, w_avg_updates="discriminator-pass")))
    assert not torch.equal(every, torch.zeros_like(every))
    assert not torch.equal(every, only)


def test_learning_rates_ramp_up_after_a_run_was_continued():
    config = replace(run_config(), batch=1000, generator=run_config().generator)
    state = new_state(config, CPU)
    full = state.generator_optimizer.param_groups[0]["lr"]
    state.nimg = state.warm_start_nimg = 50_000
    rates = []
    trainer = Trainer(config, Processes(), Phases(), Statistics(CPU))
    small = reals(run_config())
    for _ in range(6):
        trainer.run(state, small, draws(run_config(), state), round_size=4)
        rates.append(state.generator_optimizer.param_groups[0]["lr"] / full)
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
