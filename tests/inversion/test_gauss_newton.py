from __future__ import annotations

import pytest
import torch

from capriccio.inversion import curvature as curvature_module
from capriccio.inversion.curvature import curvature_of, mean_curvature
from capriccio.inversion.gauss_newton import GaussNewton, GaussNewtonSettings, energy
from capriccio.inversion.problem import Problem
from capriccio.inversion.project import Projector, frozen, project
from capriccio.inversion.projection import ProjectionSettings
from capriccio.inversion.pyramid import pyramid
from capriccio.inversion.w_statistics import w_statistics
from capriccio.loading.model import Model
from capriccio.perception.discriminator import DiscriminatorDistance
from tests.loading.test_model import snapshot


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(snapshot())


@pytest.fixture(scope="module")
def statistics(model):
    return w_statistics(model.generator)


@pytest.fixture(scope="module")
def curvature(model, statistics):
    return mean_curvature(model.generator, statistics, num_pictures=2)


def problem(model, pictures, masks=None) -> Problem:
    distance = DiscriminatorDistance(model.discriminator)
    return Problem(generator=model.generator, distance=distance, targets=pictures, masks=masks)


def solved(model, solver: GaussNewton) -> GaussNewton:
    with frozen(model), torch.enable_grad():
        for _ in solver.steps():
            pass
    return solver


def test_a_pyramid_weighs_every_scale_alike():
    images = torch.randn(3, 3, 16, 24)
    moved = images + 0.5
    assert (pyramid(moved) - pyramid(images)).square().sum(dim=1) == pytest.approx([0.25] * 3, rel=1e-4)


def test_the_curvature_foretells_how_much_a_picture_changes(model, statistics, curvature):
    rng = torch.Generator().manual_seed(0)
    v = 0.7 * torch.randn(64, model.w_dim, generator=rng)
    step = 0.1 * torch.randn(1, model.w_dim, generator=rng)

    def paint(points):
        return pyramid(model.generator.synthesis(statistics.to_w(points)[:, None].expand(-1, model.num_ws, -1), "none"))

    with torch.no_grad():
        found = (paint(v + step) - paint(v)).square().sum(dim=1).mean()
    foretold = (step @ curvature.latent @ step.T).item()
    assert 0.3 < found / foretold < 3


def test_pictures_painted_with_random_noise_are_explained(model, statistics, curvature):
    pictures = model.images(model.ws(seeds=range(8)), noise_mode="random", noise_seeds=range(8))
    solver = GaussNewton(problem(model, pictures), statistics, curvature, GaussNewtonSettings(), with_noise=True)
    solved(model, solver)
    images = model.generator.synthesis(solver.ws, solver.noise)
    error = (images - pictures).square().mean(dim=(1, 2, 3))
    middle = model.generator.synthesis(statistics.mean.expand(8, model.num_ws, -1), "none")
    shares = error / (middle - pictures).square().mean(dim=(1, 2, 3))
    assert shares.median() < 0.1
    assert shares.max() < 0.5
    stated = energy(pictures, images, solver.v, solver.noise)
    torch.testing.assert_close(stated, solver.energies, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_energies_of_few_steps_are_told_at_the_same_tolerance_as_those_of_many(num_steps, model, statistics, curvature):
    pictures = model.images(model.ws(seeds=range(3)), noise_mode="random", noise_seeds=range(3))
    settings = GaussNewtonSettings(num_steps=num_steps)
    assert settings.error_at(num_steps - 1) > settings.last_error
    solver = GaussNewton(problem(model, pictures), statistics, curvature, settings, with_noise=True)
    solved(model, solver)
    images = model.generator.synthesis(solver.ws, solver.noise)
    stated = energy(pictures, images, solver.v, solver.noise)
    torch.testing.assert_close(stated, solver.energies, rtol=1e-3, atol=1e-6)


def test_the_most_probable_explanation_costs_less_than_the_true_one(model, statistics, curvature):
    """The truth is one explanation of many; what minimises the energy may not be beaten by it."""
    ws = model.ws(seeds=[4, 5])
    maps = model.generator.draw_noise(2, torch.Generator().manual_seed(0))
    pictures = model.generator.synthesis(ws, maps).detach()
    true = statistics.to_v(ws[:, 0])
    start = (true, maps)
    settings = GaussNewtonSettings(num_steps=6, first_error=0.3)
    solver = GaussNewton(problem(model, pictures), statistics, curvature, settings, with_noise=True, start=start)
    solved(model, solver)
    assert (solver.energies < energy(pictures, pictures, true, maps)).all()


def test_the_tolerated_error_falls_and_stays():
    errors = [GaussNewtonSettings(num_steps=10).error_at(i) for i in range(10)]
    assert errors[0] == 3.0
    assert errors[-1] == errors[-2] == 0.3
    assert errors == sorted(errors, reverse=True)


def test_without_noise_maps_the_stored_ones_are_painted_with(model, statistics, curvature):
    pictures = model.images(model.ws(seeds=range(8)))
    solver = GaussNewton(problem(model, pictures), statistics, curvature, GaussNewtonSettings(), with_noise=False)
    solved(model, solver)
    assert solver.noise is None
    assert (model.images(solver.ws) - pictures).abs().mean(dim=(1, 2, 3)).median() < 0.1


def test_the_curvature_is_measured_once_and_kept(model, statistics, tmp_path, monkeypatch):
    told = []
    first = curvature_of(model, statistics, tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (8 * model.w_dim, 8 * model.w_dim)
    assert told == sorted(set(told))
    monkeypatch.setattr(curvature_module, "mean_curvature", None)
    torch.testing.assert_close(curvature_of(model, statistics, tmp_path).latent, first.latent)


def test_a_damaged_cache_is_measured_anew(model, statistics, tmp_path):
    curvature_of(model, statistics, tmp_path)
    (file,) = (tmp_path / "curvatures").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert curvature_of(model, statistics, tmp_path).latent.shape == (model.w_dim, model.w_dim)


def test_a_cache_that_cannot_be_written_costs_time_and_no_result(model, statistics, tmp_path):
    (tmp_path / "curvatures").write_text("a file, where a folder is wanted")
    assert curvature_of(model, statistics, tmp_path).latent.shape == (model.w_dim, model.w_dim)


def test_more_starts_never_find_less(model):
    pictures = torch.rand(2, model.channels, *model.size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    energies = []
    for restarts in (1, 3):
        settings = ProjectionSettings(optimize_noise=True, num_restarts=restarts)
        projector = Projector(model, settings)
        found = projector.project(pictures)
        v = projector.statistics.to_v(found.ws[:, 0])
        energies.append(energy(pictures, found.images, v, list(found.noise.values())))
    assert (energies[1] <= energies[0] * 1.001).all()


def test_descent_makes_the_distance_smaller_still(model):
    pictures = model.images(model.ws(seeds=[11, 12]), noise_mode="random", noise_seeds=[1, 2])
    plain = project(model, pictures, ProjectionSettings(num_steps=6))
    after = project(model, pictures, ProjectionSettings(num_steps=6, num_descent_steps=20))
    assert (after.distances < plain.distances).all()
