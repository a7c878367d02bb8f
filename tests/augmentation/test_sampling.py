from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from capriccio.augmentation import sampling
from capriccio.augmentation.sampling import gathered, sample_bilinear

SIZE = (5, 7)


@pytest.fixture
def theta():
    rng = torch.Generator().manual_seed(0)
    return torch.eye(2, 3) + 0.3 * torch.randn(2, 2, 3, generator=rng)


def test_it_is_bilinear_sampling_with_zeros_outside(theta):
    images = torch.randn(2, 3, 6, 4)
    grid = F.affine_grid(theta, [2, 3, *SIZE], align_corners=False)
    expected = F.grid_sample(images, grid, align_corners=False)
    assert (expected == 0).any()  # some positions are outside
    torch.testing.assert_close(sample_bilinear(images, theta, SIZE), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gathered(images, grid), expected, atol=1e-5, rtol=1e-5)


def test_pictures_that_repeat_themselves_are_sampled_within_their_windows(theta):
    images = torch.randn(2, 3, 6, 4)
    far = 2 * theta
    windows = torch.tensor([[-3, 9], [-5, 6]])
    tiled = images.tile(1, 1, 3, 5)[:, :, 1:12, 5:17]  # of two more of them above and two to the left: the windows
    x, y = 4 / 12, 6 / 11
    shift = torch.tensor([(4 - (9 - 3)) / 12, (6 - (6 - 5)) / 11])
    seen = torch.stack([far[:, 0] * x, far[:, 1] * y], dim=1)
    seen[:, :, 2] += shift
    expected = sample_bilinear(tiled, seen, SIZE)
    assert (expected == 0).any()
    assert (expected != 0).any()
    torch.testing.assert_close(sample_bilinear(images, far, SIZE, windows), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["function", "gathers"])
def test_it_is_differentiable_twice(theta, form):
    grid = sampling._grid(theta.double(), SIZE)
    apply = sampling._Sampling.apply if form == "function" else gathered
    images = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: apply(x, grid), images)
    assert torch.autograd.gradgradcheck(lambda x: apply(x, grid).sin(), images)


def test_it_works_inside_functional_derivatives(theta):
    images = torch.randn(2, 3, 6, 4)

    def score(x):
        return sample_bilinear(x, theta, SIZE).pow(3).sum()

    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(score(leaf), leaf)
    assert torch.equal(torch.func.grad(score)(images), expected)
