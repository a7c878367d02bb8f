import dataclasses

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.errors import JobError, UsageError
from capriccio.latent.discovery import components, covariance, factors, sample_w, style_weights
from capriccio.latent.fitting import fit_directions, least_unlikely_moves
from capriccio.latent.statistics import LANDSCAPES, STATISTICS, Name, measure
from capriccio.loading.model import Model
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts


def new_model(shape=None, **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(preset("tiny", shape or ImageShape(height=16, width=16)).generator, **changes)
    generator = Generator(config).eval().requires_grad_(False)
    return Model(Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts()))


@pytest.fixture
def model():
    return new_model(w_dim=16, z_dim=16)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_every_affine_map_is_listed_with_the_row_it_sees(architecture):
    model = new_model(w_dim=16, z_dim=16, architecture=architecture)
    listed = model.generator.synthesis.affines()
    assert {id(affine) for _, affine in listed} == {
        id(module) for name, module in model.generator.named_modules() if name.endswith("affine")
    }
    w = torch.randn(1, model.num_ws, 16)
    for row in range(model.num_ws):  # a hook sees exactly the maps that the row feeds
        seen = []
        hooks = [
            affine.register_forward_hook(lambda m, given, out, s=seen: s.append((id(m), given[0][0].clone())))
            for _, affine in listed
        ]
        model.images(w)
        for hook in hooks:
            hook.remove()
        fed = {name for name, given in seen if torch.equal(given, w[0, row])}
        assert fed == {id(affine) for at, affine in listed if at == row}


def test_the_first_factor_moves_the_styles_more_than_any_other_move(model):
    rows = (0, 1, 2)
    stacked = style_weights(model.generator.synthesis, rows)
    found = factors(model, rows, 3, sample_w(model, 200))
    gains = [float((stacked @ (d.vector / d.vector.norm())).norm()) for d in found]
    assert gains == sorted(gains, reverse=True)
    others = torch.nn.functional.normalize(torch.randn(500, 16), dim=1)
    assert gains[0] > float((others @ stacked.T).norm(dim=1).max())
    assert [d.name for d in found] == ["factor-coarse-1", "factor-coarse-2", "factor-coarse-3"]


def test_factors_depend_on_the_layers_and_components_do_not(model):
    w = sample_w(model, 200)
    coarse, fine = factors(model, (0, 1), 1, w)[0], factors(model, (4, 5), 1, w)[0]
    assert abs(torch.nn.functional.cosine_similarity(coarse.vector, fine.vector, 0)) < 0.99
    assert torch.equal(components(model, (0, 1), 1, w)[0].vector, components(model, (4, 5), 1, w)[0].vector)


def test_components_of_a_stretched_cloud_are_its_axes_and_a_step_is_its_spread(model):
    axes = torch.linalg.qr(torch.randn(16, 16)).Q
    spreads = torch.tensor([5.0, 3.0, 2.0] + [0.1] * 13)
    w = torch.randn(20000, 16) * spreads @ axes.T
    for found, axis, spread in zip(components(model, (0,), 3, w), axes.T, spreads, strict=False):
        assert abs(found.vector.norm() - spread) < 0.05 * spread
        assert abs(torch.nn.functional.cosine_similarity(found.vector, axis, 0)) > 0.99
        assert found.vector[found.vector.abs().argmax()] > 0


@pytest.mark.parametrize("count", [0, 17])
def test_no_more_directions_than_dimensions(count, model):
    with pytest.raises(UsageError, match=r"1\.\.16"):
        factors(model, (0,), count, sample_w(model, 10))


def test_samples_of_a_conditional_model_have_every_class():
    model = new_model(w_dim=16, z_dim=16, c_dim=3)
    assert sample_w(model, 7).shape == (7, 16)
    assert torch.equal(sample_w(model, 7), sample_w(model, 7))
    with pytest.raises(UsageError, match="at least 2"):
        sample_w(model, 1)


# ---- named directions


def test_a_move_raises_its_own_statistic_by_one_and_no_other():
    slopes = torch.randn(3, 8, dtype=torch.float64)
    spread = covariance(torch.randn(100, 8, dtype=torch.float64) * torch.arange(1, 9))
    moves = least_unlikely_moves(slopes, spread)
    torch.testing.assert_close(slopes @ moves.T, torch.eye(3, dtype=torch.float64))
    # every other move with the same effect is less likely: longer in the metric of the covariance
    free = torch.randn(8, dtype=torch.float64)
    free -= slopes.T @ torch.linalg.solve(slopes @ slopes.T, slopes @ free)
    precision = torch.linalg.inv(spread)
    other = moves[0] + 0.3 * free
    torch.testing.assert_close(slopes @ other, slopes @ moves[0])
    assert other @ precision @ other > moves[0] @ precision @ moves[0]


def test_statistics_that_say_the_same_are_refused():
    slopes = torch.randn(2, 8)
    slopes[1] = 2 * slopes[0]
    with pytest.raises(JobError, match="say the same"):
        least_unlikely_moves(slopes, torch.eye(8))


class LinearModel:
    """Sky and ground are grey levels that two entries of w say, the ground's with some of the first as well."""

    z_dim = w_dim = 8
    num_ws, c_dim, w_avg = 4, 0, torch.zeros(8)

    def ws(self, z, c=None):
        return z[:, None].expand(-1, self.num_ws, -1)

    def images(self, ws):
        w = ws.mean(dim=1)
        sky, ground = 0.1 * w[:, 2], 0.1 * (w[:, 5] + 0.8 * w[:, 2])
        return torch.stack([sky, ground], dim=1).repeat_interleave(4, dim=1)[:, None, :, None].expand(-1, 3, 8, 8)


def test_directions_of_a_linear_model_are_its_own_entries():
    names = {"sky": Name("upper-lightness", ""), "ground": Name("lower-lightness", "")}
    found = fit_directions(LinearModel(), names, count=2000)
    sky, ground = (d.vector / d.vector.norm() for d in found.listed)
    expected = torch.zeros(8)
    expected[2], expected[5] = 1, -0.8  # brighter sky, and as much less of what would brighten the ground with it
    torch.testing.assert_close(sky, expected / expected.norm(), atol=0.08, rtol=0)
    torch.testing.assert_close(ground, torch.eye(8)[5], atol=0.08, rtol=0)
    assert min(found.explained) > 0.95
    torch.testing.assert_close(found.response, torch.eye(2, dtype=torch.float64), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("names", "count", "says"),
    [
        ({}, 2000, "no statistic"),
        ({"sky": Name("upper-lightnes", "")}, 2000, "Did you mean 'upper-lightness'"),
        ({"sky": Name("lightness", "")}, 31, "at least 32 samples"),
    ],
)
def test_what_cannot_be_fitted_is_refused(names, count, says):
    with pytest.raises(UsageError, match=says):
        fit_directions(LinearModel(), names, count=count)


def test_a_statistic_that_never_changes_is_refused():
    with pytest.raises(JobError, match="same in every picture"):
        fit_directions(LinearModel(), {"colour": Name("saturation", "")}, count=100)


def picture(sky, ground):
    top, bottom = (torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 4, 8) for colour in (sky, ground))
    return torch.cat([top, bottom], dim=2) * 2.0 - 1


BLUE, WHITE, GREEN, ORANGE, BLACK = (0.3, 0.5, 0.9), (1.0, 1.0, 1.0), (0.2, 0.7, 0.2), (0.9, 0.5, 0.1), (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("statistic", "more", "less"),
    [
        ("lightness", (WHITE, GREEN), (BLACK, GREEN)),
        ("upper-lightness", (WHITE, BLACK), (BLACK, WHITE)),
        ("lower-lightness", (BLACK, WHITE), (WHITE, BLACK)),
        ("upper-warmth", (ORANGE, BLUE), (BLUE, ORANGE)),
        ("lower-coldness", (ORANGE, BLUE), (BLUE, ORANGE)),
        ("lower-greenness", (ORANGE, GREEN), (GREEN, ORANGE)),
        ("lower-whiteness", (BLUE, WHITE), (WHITE, BLUE)),
        ("flatness", (BLUE, GREEN), (WHITE, BLACK)),
        ("saturation", (ORANGE, BLUE), (WHITE, BLACK)),
    ],
)
def test_statistics_order_pictures_as_people_do(statistic, more, less):
    values = measure(torch.cat([picture(*more), picture(*less)]), [statistic])
    assert values[0] > values[1]


def test_upper_detail_counts_upright_edges_in_the_upper_half():
    trunks = torch.zeros(1, 3, 8, 8)
    trunks[:, :, :4, ::2] = 1
    values = measure(torch.cat([trunks, trunks.flip(2), trunks.transpose(2, 3)]), ["upper-detail"])[:, 0]
    assert values[0] > 0.3
    assert values[1] == 0
    assert values[2] < values[0]


def test_every_name_is_that_of_a_statistic_and_grey_pictures_are_refused():
    assert {name.statistic for name in LANDSCAPES.values()} <= set(STATISTICS)
    with pytest.raises(UsageError, match="RGB"):
        measure(torch.zeros(1, 1, 8, 8), ["lightness"])
