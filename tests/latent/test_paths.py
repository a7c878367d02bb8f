import pytest
import torch
from scipy.interpolate import CubicSpline

from capriccio.errors import ShapeError
from capriccio.latent.paths import SplinePath, lerp, slerp


def keys(count, *shape, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_closed_path_passes_through_its_keys_exactly_and_comes_back(count):
    points = keys(count, 4, 8).float()
    path = SplinePath(points)
    assert torch.equal(path.at(torch.arange(count)), points)
    assert torch.equal(path.at(torch.tensor([float(count)])), points[:1])
    assert torch.equal(path.at(torch.tensor([-0.25])), path.at(torch.tensor([count - 0.25])))


def test_it_is_the_periodic_cubic_spline():
    points = keys(6, 3)
    closed = torch.cat([points, points[:1]]).numpy()
    oracle = CubicSpline(range(7), closed, bc_type="periodic")
    times = torch.linspace(0, 6, 97, dtype=torch.float64)
    torch.testing.assert_close(SplinePath(points).at(times), torch.from_numpy(oracle(times.numpy())))


@pytest.mark.parametrize("count", [2, 3, 6])
def test_an_open_path_is_the_natural_spline_and_rests_beyond_its_ends(count):
    points = keys(count, 3)
    path = SplinePath(points, closed=False)
    oracle = CubicSpline(range(count), points.numpy(), bc_type="natural")
    times = path.frame_times(97)
    torch.testing.assert_close(path.at(times), torch.from_numpy(oracle(times.numpy())))
    torch.testing.assert_close(path.at(torch.tensor([-1.0, count])), points[[0, -1]])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_seam_is_as_smooth_as_the_rest(count):
    path, step = SplinePath(keys(count, 8)), 1e-3
    for knot in range(count):
        times = knot + step * torch.arange(-2, 3, dtype=torch.float64)
        far_left, left, at, right, far_right = path.at(times)
        acceleration_before, acceleration_after = at - 2 * left + far_left, far_right - 2 * right + at
        torch.testing.assert_close((at - left) / step, (right - at) / step, atol=0.05, rtol=0)
        torch.testing.assert_close(acceleration_before / step**2, acceleration_after / step**2, atol=0.1, rtol=0)


def test_the_last_frame_is_not_the_first_again():
    path = SplinePath(keys(3, 8))
    frames = path.at(path.frame_times(60))
    jumps = (frames - frames.roll(1, 0)).norm(dim=1)
    assert len(frames) == 60
    assert jumps.min() > 0
    assert jumps[0] < 2 * jumps.median()  # from the last frame to the first is one step like the others


def test_keys_that_are_equal_give_a_path_that_rests():
    for closed in (True, False):
        rest = SplinePath(torch.ones(3, 2, 4), closed=closed).at(torch.linspace(0, 3, 10))
        assert torch.equal(rest, torch.ones(10, 2, 4))
    assert torch.equal(SplinePath(torch.ones(1, 4), closed=False).at(torch.linspace(0, 3, 10)), torch.ones(10, 4))


def test_lerp_and_slerp_begin_and_end_at_their_ends():
    a, b = keys(2, 64)
    ends = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(lerp(a, b, ends), torch.stack([a, b]))
    torch.testing.assert_close(slerp(a, b, ends), torch.stack([a, b]))


def test_slerp_turns_at_constant_speed_and_keeps_length():
    a, b = torch.nn.functional.normalize(keys(2, 64), dim=1) * 3
    points = slerp(a, b, torch.linspace(0, 1, 11))
    torch.testing.assert_close(points.norm(dim=1), torch.full((11,), 3.0, dtype=torch.float64))
    angles = torch.nn.functional.cosine_similarity(points[1:], points[:-1]).acos()
    torch.testing.assert_close(angles, angles[:1].expand(10))


def test_slerp_between_opposite_parallel_and_zero_vectors_stays_finite_and_arrives():
    a = keys(1, 16)[0]
    t = torch.linspace(0, 1, 5)
    for b in (-a, a, 2 * a, torch.zeros_like(a)):
        points = slerp(a, b, t)
        assert torch.isfinite(points).all()
        torch.testing.assert_close(points[-1], b, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(slerp(a, -a, t).norm(dim=1), a.norm().expand(5))


def test_ends_of_two_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"\[4\] and \[5\]"):
        slerp(torch.zeros(4), torch.zeros(5), torch.zeros(1))
    with pytest.raises(ShapeError, match="at least 1"):
        SplinePath(torch.zeros(0, 4))
