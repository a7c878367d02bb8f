"""Taking over what fits: by role and level, listed line by line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from capriccio.config import ImageShape, RunConfig
from capriccio.errors import RunError
from capriccio.interop.foreign import read_network
from capriccio.networks.generator import Generator
from capriccio.presets import for_transfer, preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from capriccio.training.ema import ema_beta
from capriccio.training.state import TrainingState, new_state
from capriccio.training.transfer import continue_from_snapshot, init_from_snapshot, take_over
from tests.interop.foreign_files import nvidia_bytes
from tests.parity.golden import of_kind
from tests.training.tiny import CPU, SHAPE, run_config


def states(source_shape: ImageShape, shape: ImageShape) -> tuple[Snapshot, TrainingState]:
    """Return a snapshot of one shape and a fresh state of another, of other random numbers."""
    source = new_state(replace(run_config(shape=source_shape), seed=1), CPU)
    snapshot = Snapshot(
        generator=source.generator_ema,
        discriminator=source.discriminator,
        facts=SnapshotFacts(nimg=5000, pl_mean=0.5, augment_p=0.3),
    )
    return snapshot, new_state(run_config(shape=shape), CPU)


def test_the_same_shape_takes_everything():
    snapshot, state = states(SHAPE, SHAPE)
    lines = take_over(snapshot, state)
    count_g, count_d = len(state.generator.state_dict()), len(state.discriminator.state_dict())
    assert lines == [
        f"init: generator: {count_g} tensors copied, 0 adapted, 0 fresh, 0 unused.",
        f"init: discriminator: {count_d} tensors copied, 0 adapted, 0 fresh, 0 unused.",
    ]
    for mine, theirs in (
        (state.generator, snapshot.generator),
        (state.generator_ema, snapshot.generator),
        (state.discriminator, snapshot.discriminator),
    ):
        assert all(torch.equal(t, theirs.state_dict()[name]) for name, t in mine.state_dict().items())
    assert state.nimg == 0


def test_64_pixels_fill_the_levels_of_128_that_both_have():
    snapshot, state = states(ImageShape(height=64, width=64), ImageShape(height=128, width=128))
    lines = take_over(snapshot, state)
    for name, tensor in state.generator.state_dict().items():
        if ".128." not in name:
            assert torch.equal(tensor, snapshot.generator.state_dict()[name]), name
    fresh = next(line for line in lines if line.startswith("init: generator: fresh: "))
    names = fresh.removeprefix("init: generator: fresh: ").rstrip(".").split(", ")
    assert all(".128." in name for name in names)
    # The first layer of the smaller discriminator finds no place: the larger one reads the picture a level higher.
    assert any("unused" in line and "blocks.64.from_rgb.weight" in line for line in lines)


def test_another_aspect_keeps_all_but_resamples_the_start():
    wide = ImageShape(height=16, width=24)
    snapshot, state = states(SHAPE, wide)
    lines = take_over(snapshot, state)
    assert any(line.startswith("init: generator: adapted: synthesis.blocks.4.constant_input") for line in lines)
    constant = state.generator.synthesis.blocks["4"].constant_input
    theirs = snapshot.generator.synthesis.blocks["4"].constant_input
    assert constant.shape[1:] == (4, 6)
    torch.testing.assert_close(constant.mean(dim=(1, 2)), theirs.mean(dim=(1, 2)), atol=0.3, rtol=0.5)
    # A constant map gives the dense layer what it gave before.
    mine, source = state.discriminator.epilogue.fc, snapshot.discriminator.epilogue.fc
    maps = torch.rand(2, 8, 1, 1)
    wide_out = mine(maps.expand(-1, -1, 4, 6).flatten(1))
    assert wide_out.shape == source(maps.expand(-1, -1, 4, 4).flatten(1)).shape


@pytest.mark.parametrize(("have", "want"), [(3, 1), (3, 4), (4, 3), (1, 3)])
def test_another_number_of_channels_is_adapted(have, want):
    snapshot, state = states(replace(SHAPE, channels=have), replace(SHAPE, channels=want))
    lines = take_over(snapshot, state)
    assert not any(" fresh: " in line and "discriminator" in line for line in lines)
    theirs = snapshot.generator.synthesis.blocks["16"].to_rgb.weight
    mine = state.generator.synthesis.blocks["16"].to_rgb.weight
    assert mine.shape[0] == want
    if want == 1:
        torch.testing.assert_close(mine[0], theirs.mean(dim=0))
    else:
        common = min(have, want)
        assert torch.equal(mine[:common], theirs[:common])
        for extra in mine[common:]:
            torch.testing.assert_close(extra, theirs.mean(dim=0))


def test_a_network_of_another_program_is_a_start(tmp_path):
    golden = next(g for g in of_kind("generator") if g.name == "g_skip_16_gray")
    path = tmp_path / "network.pkl"
    path.write_bytes(nvidia_bytes(golden.under("param/G."), golden.config["G"]))
    theirs = read_network(path).generator
    state = new_state(run_config(shape=theirs.config.shape), CPU)
    state.generator = Generator(theirs.config)
    state.generator_ema = Generator(theirs.config)
    lines = init_from_snapshot(path, state)
    assert lines[1] == f"init: generator: {len(theirs.state_dict())} tensors copied, 0 adapted, 0 fresh, 0 unused."
    assert all(torch.equal(t, theirs.state_dict()[name]) for name, t in state.generator_ema.state_dict().items())


def test_without_a_discriminator_ours_stays_fresh(tmp_path):
    snapshot, state = states(SHAPE, SHAPE)
    before = {name: t.clone() for name, t in state.discriminator.state_dict().items()}
    path = tmp_path / "slim.safetensors"
    save_snapshot(path, replace(snapshot, discriminator=None))
    assert init_from_snapshot(path, state)[-1] == "init: the snapshot has no discriminator; ours is fresh."
    assert all(torch.equal(t, before[name]) for name, t in state.discriminator.state_dict().items())


def test_going_on_takes_networks_clock_and_mean(tmp_path):
    snapshot, state = states(SHAPE, SHAPE)
    path = tmp_path / "travelling.safetensors"
    save_snapshot(path, snapshot)
    lines = continue_from_snapshot(path, state)
    assert "Continued from travelling.safetensors at 5.0 kimg" in lines[0]
    assert (state.nimg, state.warm_start_nimg, float(state.pl_mean)) == (5000, 5000, 0.5)
    assert state.augmentation.adapted_p == 0.3
    assert all(
        torch.equal(t, snapshot.generator.state_dict()[name]) for name, t in state.generator.state_dict().items()
    )


@pytest.mark.parametrize(
    "other",
    [run_config(shape=ImageShape(height=32, width=32)), run_config(shape=replace(SHAPE, channels=1))],
    ids=["larger", "grey"],
)
def test_going_on_with_another_network_is_refused(other: RunConfig, tmp_path):
    snapshot, _ = states(SHAPE, SHAPE)
    path = tmp_path / "travelling.safetensors"
    save_snapshot(path, snapshot)
    told = rf"for pictures of {SHAPE}, this run has pictures of {other.generator.shape}; .*--init-from"
    with pytest.raises(RunError, match=told):
        continue_from_snapshot(path, new_state(other, CPU))


def test_going_on_with_another_width_is_refused(tmp_path):
    snapshot, _ = states(SHAPE, SHAPE)
    save_snapshot(tmp_path / "travelling.safetensors", snapshot)
    config = run_config(shape=SHAPE)
    wider = replace(config, generator=replace(config.generator, channel_max=2 * config.generator.channel_max))
    with pytest.raises(RunError, match=r"holds a network of another shape .*--init-from"):
        continue_from_snapshot(tmp_path / "travelling.safetensors", new_state(wider, CPU))


def test_a_run_from_another_network_keeps_its_average_from_the_start_and_augments_sooner():
    config = preset("tiny", ImageShape(height=16, width=16))
    assert config.ema.rampup is not None
    assert for_transfer(config) == replace(
        config, ema=replace(config.ema, rampup=None), augment=replace(config.augment, kimg=100.0)
    )
    asked = replace(config, augment=replace(config.augment, kimg=300.0))
    assert for_transfer(asked).augment.kimg == 300
    beta = ema_beta(for_transfer(config).ema, nimg=0, batch=8)
    assert beta == pytest.approx(0.5 ** (8 / (1000 * config.ema.half_life_kimg)))


def test_a_network_with_labels_begins_as_the_one_without(tmp_path):
    source = new_state(replace(run_config(), seed=1), CPU)
    snapshot = Snapshot(generator=source.generator_ema, discriminator=source.discriminator, facts=SnapshotFacts())
    state = new_state(run_config(c_dim=3), CPU)
    lines = take_over(snapshot, state)
    z, c = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), torch.eye(3)[[0, 1, 2, 0]]
    torch.testing.assert_close(state.generator.mapping(z, c), source.generator_ema.mapping(z, None))
    assert not any("warning" in line for line in lines)

    labelled = Snapshot(generator=state.generator, discriminator=None, facts=SnapshotFacts())
    back = new_state(run_config(), CPU)
    take_over(labelled, back)
    torch.testing.assert_close(back.generator.mapping(z, None), source.generator_ema.mapping(z, None))


def test_what_is_taken_over_in_part_is_warned_of():
    snapshot, _ = states(SHAPE, SHAPE)
    config = run_config()
    mapping = replace(config.generator.mapping, num_layers=4)
    deeper = replace(config, generator=replace(config.generator, mapping=mapping))
    lines = take_over(snapshot, new_state(deeper, CPU))
    assert any("warning: the mapping network fits in part" in line for line in lines)
    narrow = replace(config, discriminator=replace(config.discriminator, channel_base=32, channel_max=4))
    lines = take_over(snapshot, new_state(narrow, CPU))
    assert any("discriminator: warning: most of its numbers are fresh" in line for line in lines)
