"""Metrics against the stored numbers of the reference programs."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from capriccio.metrics.inception_score import inception_score
from capriccio.metrics.kernel_distance import subset_distance
from capriccio.metrics.manifold import coverage
from capriccio.metrics.moments import Moments, MomentSums, frechet_distance
from capriccio.metrics.path_length import PathDraws, on_great_circle, path_lengths, trimmed_mean
from capriccio.networks.generator import Generator
from capriccio.perception.protocols import NetworkCard
from tests.parity.golden import close, fill, generator_config, of_kind

[METRICS] = of_kind("metrics")
REALS, FAKES = METRICS["in/real_features"], METRICS["in/gen_features"]


def test_mean_and_covariance_streamed_in_parts():
    for side, features in (("real", REALS), ("gen", FAKES)):
        sums = MomentSums(features.shape[1])
        for part in features.split(100):
            sums.add(part)
        moments = sums.moments()
        close(moments.mean, METRICS[f"out/{side}_mean"])
        close(moments.covariance, METRICS[f"out/{side}_cov"])


def test_frechet_distance():
    distance = frechet_distance(Moments.of(FAKES), Moments.of(REALS))
    assert distance == pytest.approx(float(METRICS["out/fid"]), rel=1e-5)


def test_kernel_distance():
    assert subset_distance(FAKES, REALS) == pytest.approx(float(METRICS["out/kid_full_subset"]), rel=1e-4)
    pairs = zip(METRICS["in/kid_subset_gen_idx"], METRICS["in/kid_subset_real_idx"], strict=True)
    values = [subset_distance(FAKES[i], REALS[j]) for i, j in pairs]
    assert sum(values) / len(values) == pytest.approx(float(METRICS["out/kid_4x60"]), rel=1e-4)


@pytest.mark.parametrize("half", [True, False])
def test_precision_and_recall(half):
    found = coverage(FAKES, REALS, 3, half=half)
    assert found.precision == pytest.approx(float(METRICS["out/precision_k3"]), abs=2 / len(FAKES))
    assert found.recall == pytest.approx(float(METRICS["out/recall_k3"]), abs=2 / len(REALS))


def test_inception_score():
    mean, std = inception_score(METRICS["in/gen_probs"])
    assert (mean, std) == pytest.approx((float(METRICS["out/is_mean"]), float(METRICS["out/is_std"])), rel=1e-5)


def test_trimmed_mean_of_path_lengths():
    assert trimmed_mean(METRICS["in/ppl_distances"]) == pytest.approx(float(METRICS["out/ppl_trimmed_mean"]), rel=1e-6)


def test_great_circles():
    close(on_great_circle(METRICS["in/slerp.a"], METRICS["in/slerp.b"], METRICS["in/slerp.t"]), METRICS["out/slerp"])


class Pooled:
    """The stand-in for a perceptual network: averages of 4×4 blocks, flattened, divided by √length."""

    card = NetworkCard(name="pooled", weights="none", preprocessing="none")

    def vectors(self, images):
        features = functional.avg_pool2d(images, 4).flatten(1)
        return features / math.sqrt(features.shape[1])


[PPL] = of_kind("ppl")


@pytest.mark.parametrize("case", PPL.config["cases"], ids=lambda case: case["name"])
def test_path_lengths(case):
    generator = Generator(generator_config(PPL.config["G"]))
    with torch.no_grad():
        fill(generator, PPL.under("param/G."))
    name = case["name"]
    layers = ["b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1"]
    noise = [PPL[f"in/{name}.noise.synthesis.{layer}.noise_const"][None, None] for layer in layers]
    t = PPL[f"in/{name}.t"] if case["sampling"] == "full" else torch.zeros(3)
    draws = PathDraws(z0=PPL[f"in/{name}.z0"], z1=PPL[f"in/{name}.z1"], t=t, c=None, noise=noise)
    lengths = path_lengths(
        generator, Pooled(), draws, in_w=case["space"] == "w", crop=case["crop"], epsilon=PPL.config["epsilon"]
    )
    close(lengths, PPL[f"out/{name}"], atol=1e-3, rtol=1e-3)
