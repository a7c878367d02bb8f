import copy
import dataclasses

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.errors import SnapshotError, UsageError
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.blending import Shares, blend, kinship, swapped_from
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, load_snapshot, model_hash, save_snapshot

LEVELS = (4, 8, 16)


def new(seed, **changes):
    torch.manual_seed(seed)
    config = dataclasses.replace(preset("tiny", ImageShape(height=16, width=16)).generator, **changes)
    return snapshot(Generator(config).eval().requires_grad_(False), licence="ours", nimg=1000)


def snapshot(generator, **facts):
    return Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(**facts))


def trained_on(parent, seed=9, change=0.2):
    """A relative: every tensor moved a little, as training does."""
    child = copy.deepcopy(parent.generator)
    rng = torch.Generator().manual_seed(seed)
    for value in child.parameters():
        value += change * torch.randn(value.shape, generator=rng)
    child.mapping.w_avg += 1
    return snapshot(child, licence="theirs", nimg=2500)


@pytest.fixture(scope="module")
def parent():
    return new(0)


@pytest.fixture(scope="module")
def child(parent):
    return trained_on(parent)


def features(network, ws):
    return network.synthesis.features(ws)


def test_a_swap_keeps_coarse_levels_and_takes_fine_ones(parent, child):
    mixed = blend(parent, child, swapped_from(16, LEVELS)).generator
    ws = torch.randn(2, mixed.num_ws, parent.generator.config.w_dim)
    ours, theirs, both = (features(network, ws) for network in (parent.generator, child.generator, mixed))
    assert torch.equal(both[1][0], ours[1][0])
    assert not torch.equal(both[2][0], ours[2][0])
    for name, tensor in mixed.state_dict().items():
        source = child if ".blocks.16." in name else parent
        assert torch.equal(tensor, source.generator.state_dict()[name]), name
    assert not torch.equal(both[2][0], theirs[2][0])


def test_shares_of_none_half_and_all_lie_on_a_line(parent, child):
    shares = Shares(levels={4: 0, 8: 0.5, 16: 1}, mapping=0.25)
    mixed = blend(parent, child, shares).generator.state_dict()
    for name, a in parent.generator.state_dict().items():
        b = child.generator.state_dict()[name]
        share = next((s for level, s in shares.levels.items() if f".blocks.{level}." in name), 0.25)
        torch.testing.assert_close(mixed[name], a + share * (b - a))


def test_noise_maps_are_taken_whole(parent):
    child = trained_on(parent)
    for module in child.generator.modules():
        if hasattr(module, "noise_const"):
            module.noise_const.normal_()
    for share, source in ((0.4, parent), (0.6, child)):
        mixed = blend(parent, child, Shares(levels=dict.fromkeys(LEVELS, share))).generator
        for ours, theirs in zip(mixed.synthesis.noise_consts(), source.generator.synthesis.noise_consts(), strict=True):
            assert torch.equal(ours, theirs)


def test_the_two_networks_are_not_changed_and_the_facts_say_what_was_done(parent, child, tmp_path):
    before = model_hash(parent.generator), model_hash(child.generator)
    mixed = blend(parent, child, swapped_from(8, LEVELS))
    assert (model_hash(parent.generator), model_hash(child.generator)) == before
    save_snapshot(tmp_path / "blend.safetensors", mixed)
    facts = load_snapshot(tmp_path / "blend.safetensors").facts
    assert facts.card["blend"]["of"] == list(before)
    assert facts.card["blend"]["share_of_second"] == {"4": 0, "8": 1, "16": 1}
    assert facts.licence == "both apply: ours; theirs"
    assert (facts.nimg, facts.calibration) == (2500, {})


def test_relatives_are_near_and_strangers_at_right_angles(parent, child):
    assert min(kinship(parent.generator, child.generator).values()) > 0.9
    assert max(abs(value) for value in kinship(parent.generator, new(1).generator).values()) < 0.2


def test_strangers_are_refused_with_the_reason(parent):
    with pytest.raises(SnapshotError, match=r"no relatives: weights of level \d+ have a cosine of -?0\.[01]\d"):
        blend(parent, new(1), swapped_from(16, LEVELS))


def test_one_strange_level_is_enough(parent, child):
    half = copy.deepcopy(child)
    half.generator.synthesis.blocks["16"].load_state_dict(new(1).generator.synthesis.blocks["16"].state_dict())
    with pytest.raises(SnapshotError, match="weights of level 16 have"):
        blend(parent, half, swapped_from(16, LEVELS))


def test_the_same_network_with_its_channels_in_another_order_is_a_stranger(parent):
    """It paints the same pictures, and yet its levels do not fit between the other's."""
    shuffled = copy.deepcopy(parent)
    order = torch.randperm(parent.generator.config.channels_at(8))
    lower, upper = shuffled.generator.synthesis.blocks["8"], shuffled.generator.synthesis.blocks["16"]
    lower.conv1.weight.copy_(lower.conv1.weight[order])
    lower.conv1.bias.copy_(lower.conv1.bias[order])
    for reader in (lower.to_rgb, upper.conv0):
        reader.weight.copy_(reader.weight[:, order])
        reader.affine.weight.copy_(reader.affine.weight[order])
        reader.affine.bias.copy_(reader.affine.bias[order])
    ws = torch.randn(2, parent.generator.num_ws, parent.generator.config.w_dim)
    torch.testing.assert_close(shuffled.generator.synthesis(ws), parent.generator.synthesis(ws), atol=1e-4, rtol=1e-4)
    with pytest.raises(SnapshotError, match="no relatives"):
        blend(parent, shuffled, swapped_from(16, LEVELS))


def test_networks_built_differently_are_refused_with_the_settings(parent):
    with pytest.raises(SnapshotError, match=r"built differently.*architecture skip and resnet"):
        blend(parent, new(0, architecture="resnet"), swapped_from(16, LEVELS))


def test_a_network_with_itself_is_refused(parent):
    with pytest.raises(UsageError, match="both are the same network"):
        blend(parent, copy.deepcopy(parent), swapped_from(16, LEVELS))


@pytest.mark.parametrize(
    ("levels", "mapping", "says"),
    [
        ({4: 0, 8: 0, 16: 1.5}, 0, "share of level 16 must lie in 0..1, got 1.5"),
        ({4: 0, 8: float("nan"), 16: 1}, 0, "got nan"),
        ({4: 0, 8: 0, 16: 1}, -0.1, "share of the mapping"),
        ({4: 0, 8: 0, 16: 0}, 0, "nothing comes from the second"),
        ({4: 0, 8: 1}, 0, "shares are those of levels 4, 8, 16, got 4, 8"),
        ({4: 0, 8: 1, 16: 1, 32: 1}, 0, "got 4, 8, 16, 32"),
    ],
)
def test_shares_that_cannot_be_are_refused(levels, mapping, says, parent, child):
    with pytest.raises(UsageError, match=says):
        blend(parent, child, Shares(levels=levels, mapping=mapping))


def test_a_level_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="level 32 is not there; these networks have 4, 8, 16"):
        swapped_from(32, LEVELS)
