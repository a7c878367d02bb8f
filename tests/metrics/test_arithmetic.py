"""The numbers themselves: against scipy and torchmetrics, and the properties that define them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from capriccio.errors import UsageError
from capriccio.metrics import kernel_distance as kernel_module
from capriccio.metrics import manifold
from capriccio.metrics.inception_score import inception_score
from capriccio.metrics.kernel_distance import kernel_distance, subset_distance
from capriccio.metrics.manifold import coverage
from capriccio.metrics.moments import Moments, MomentSums, frechet_distance
from capriccio.metrics.path_length import on_great_circle, trimmed_mean


def features(count: int, dim: int = 24, *, seed: int = 0, shift: float = 0.0, rank: int | None = None) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    latent = torch.randn(count, rank or dim, generator=rng)
    mixing = torch.randn(rank or dim, dim, generator=torch.Generator().manual_seed(99))
    return latent @ mixing + shift


class Pictures(nn.Module):
    """A stand-in for a feature network: pictures whose pixels are the features."""

    num_features = 24

    def forward(self, images):
        return images.flatten(1)


def as_pictures(f: torch.Tensor) -> torch.Tensor:
    return f.reshape(len(f), 3, 2, 4)


@pytest.mark.parametrize("rank", [None, 5])
def test_the_frechet_distance_is_that_of_scipy(rank):
    a, b = Moments.of(features(300, rank=rank)), Moments.of(features(200, seed=1, shift=0.3, rank=rank))
    root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy())
    expected = float((a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace()) - 2 * np.trace(root).real
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_the_frechet_distance_is_that_of_torchmetrics():
    fid = FrechetInceptionDistance(feature=Pictures(), normalize=True).set_dtype(torch.float64)
    real, fake = features(300), features(300, seed=1, shift=0.2)
    fid.update(as_pictures(real).double(), real=True)
    fid.update(as_pictures(fake).double(), real=False)
    # torchmetrics divides covariances by n − 1.
    unbiased = [Moments(299, m.total * 299 / 300, _centred_products(m)) for m in map(Moments.of, (fake, real))]
    assert frechet_distance(*unbiased) == pytest.approx(float(fid.compute()), rel=1e-5)


def _centred_products(m: Moments) -> torch.Tensor:
    """Products whose biased covariance over n − 1 vectors is the unbiased one over n."""
    n = m.count - 1
    return m.products - m.count * torch.outer(m.mean, m.mean) + n * torch.outer(m.mean, m.mean)


def test_a_set_has_no_distance_from_itself_and_the_distance_has_no_direction():
    a, b = Moments.of(features(100)), Moments.of(features(80, seed=1))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_a_shift_alone_costs_its_square():
    f = features(200)
    moved = f + torch.full((24,), 0.5)
    assert frechet_distance(Moments.of(f), Moments.of(moved)) == pytest.approx(24 * 0.25, rel=1e-5)


def test_moments_do_not_depend_on_the_parts_they_came_in():
    f = features(3000)
    sums = MomentSums(24)
    for part in torch.split(f, 77):
        sums.add(part)
    torch.testing.assert_close(sums.moments().products, Moments.of(f).products)
    assert sums.moments().count == 3000


def test_features_of_different_lengths_are_refused():
    with pytest.raises(UsageError, match="24 and 8"):
        frechet_distance(Moments.of(features(10)), Moments.of(features(10, 8)))


def test_the_kernel_distance_is_that_of_torchmetrics():
    kid = KernelInceptionDistance(feature=Pictures(), subsets=1, subset_size=120, normalize=True)
    real, fake = features(120) / 10, features(120, seed=1, shift=2.0) / 10
    kid.update(as_pictures(real), real=True)
    kid.update(as_pictures(fake), real=False)
    assert subset_distance(fake, real) == pytest.approx(float(kid.compute()[0]), rel=1e-3)


def test_the_kernel_distance_of_equal_distributions_is_next_to_nothing():
    equal = [kernel_distance(features(150, seed=2 * i), features(150, seed=2 * i + 1)).mean for i in range(8)]
    apart = kernel_distance(features(150), features(150, seed=1, shift=1.0)).mean
    assert abs(np.mean(equal)) < 0.1 * apart
    assert min(equal) < 0 < max(equal)  # unbiased: on either side of 0


def test_subsets_follow_from_the_seed(monkeypatch):
    monkeypatch.setattr(kernel_module, "SUBSET_SIZE", 40)
    one, same, other = (kernel_distance(features(100), features(90, seed=1), seed=s) for s in (0, 0, 1))
    assert one == same != other
    assert one.std > 0


def test_the_inception_score_is_that_of_torchmetrics():
    logits = torch.randn(100, 24, generator=torch.Generator().manual_seed(0)) * 2
    score = InceptionScore(feature=Pictures(), splits=10)
    torch.manual_seed(3)
    shuffled = logits[torch.randperm(100)]  # as torchmetrics will, from the same seed
    score.update(as_pictures(logits))
    torch.manual_seed(3)
    mean, _ = score.compute()
    assert inception_score(shuffled.softmax(1))[0] == pytest.approx(float(mean), rel=1e-4)


def test_precision_and_recall_tell_fidelity_from_diversity():
    reals = torch.cat([features(100), features(100, seed=1, shift=30.0)])
    half = features(100, seed=2)  # one of the two kinds: faithful, not diverse
    found = coverage(half, reals, 3)
    assert found.precision > 0.7
    assert found.recall < 0.5
    assert found.coverage < 0.6
    far = coverage(features(100, seed=3, shift=500.0), reals, 3)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_density_counts_balls_by_hand():
    reals = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    fakes = torch.tensor([[0.5], [50.0]])
    found = coverage(fakes, reals, 1)
    # Balls of radius 1 about 0, 1 and 2, of radius 8 about 10: the first fake lies in those about 0 and 1.
    assert found.density == (2 + 0) / 2
    assert found.precision == 0.5
    assert found.coverage == 0.5


def test_blocks_change_nothing(monkeypatch):
    reals, fakes = features(90), features(70, seed=1)
    whole = coverage(fakes, reals, 3)
    monkeypatch.setattr(manifold, "BLOCK", 17)
    assert coverage(fakes, reals, 3) == whole


def test_too_few_points_for_a_neighbourhood_are_refused():
    with pytest.raises(UsageError, match="more than 3 pictures on both sides, got 3 samples"):
        coverage(features(3), features(20), 3)


def test_the_trimmed_mean_leaves_out_one_percent_on_both_sides():
    values = torch.arange(1000.0)
    values[-1] = 1e9
    kept = np.arange(9, 991)
    assert trimmed_mean(values[torch.randperm(1000)]) == pytest.approx(kept.mean(), rel=1e-3)
    assert trimmed_mean(torch.tensor([4.0])) == 4.0


def test_great_circles_have_constant_speed():
    a, b = torch.randn(5, 12), torch.randn(5, 12)
    steps = [on_great_circle(a, b, torch.full((5, 1), t)) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    torch.testing.assert_close(steps[0], nn.functional.normalize(a, dim=1))
    torch.testing.assert_close(steps[-1], nn.functional.normalize(b, dim=1))
    moved = torch.stack([(q * p).sum(1).clamp(-1, 1).acos() for p, q in itertools.pairwise(steps)])
    torch.testing.assert_close(moved, moved[:1].expand(4, -1), atol=1e-3, rtol=1e-3)
