"""Perceptual path length: how much pictures change per step along a path in latent space.

Source: Karras, Laine, Aila 2019 (StyleGAN), section 4.1; StyleGAN2 (without crop, at path ends).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.networks.generator import Generator
from capriccio.networks.synthesis import NoiseInput
from capriccio.perception.protocols import PerceptualDistance, distances

EPSILON = 1e-4
"""Length of a step, as a share of the path."""

REDUCED_SIDE = 256
"""Larger pictures are reduced to about this before they are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathDraws:
    """The random numbers of some paths."""

    z0: Tensor
    """Beginnings [N, z_dim]."""
    z1: Tensor
    """Ends [N, z_dim]."""
    t: Tensor
    """Positions, 0…1, [N]."""
    c: Tensor | None
    """Labels [N, c_dim]."""
    noise: NoiseInput
    """Noise maps, the same for both pictures of a pair."""


@torch.no_grad()
def path_lengths(
    generator: Generator,
    distance: PerceptualDistance,
    draws: PathDraws,
    *,
    in_w: bool,
    crop: bool,
    epsilon: float = EPSILON,
) -> Tensor:
    """Return the distance of the two pictures of every pair, divided by ε², [N].

    Args:
        generator: computes without truncation, in float32.
        distance: how pictures are compared.
        draws: where the paths lie.
        in_w: walk straight in W; else along the great circle in Z.
        crop: compare only the middle rows and columns, where an aligned face would be.
        epsilon: length of the step.
    """
    t = draws.t[:, None]
    if in_w:
        w0, w1 = generator.mapping(draws.z0, draws.c), generator.mapping(draws.z1, draws.c)
        pair = [w0 + (w1 - w0) * u for u in (t, t + epsilon)]
    else:
        pair = [generator.mapping(on_great_circle(draws.z0, draws.z1, u), draws.c) for u in (t, t + epsilon)]
    a, b = (
        _as_compared(generator.synthesis(w[:, None].expand(-1, generator.num_ws, -1), draws.noise), crop) for w in pair
    )
    return distances(distance, a, b) / epsilon**2


def trimmed_mean(lengths: Tensor) -> float:
    """Return the mean without the lowest and the highest percent."""
    values = lengths.double().sort().values
    last = len(values) - 1
    low, high = values[math.floor(0.01 * last)], values[math.ceil(0.99 * last)]
    return float(values[(values >= low) & (values <= high)].mean())


def on_great_circle(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return unit vectors at ``t`` [N, 1] on the great circles from the directions of ``a`` to those of ``b``, [N, d].

    Lengths do not matter: the mapping network normalises its input. A walk that keeps them is
    :func:`capriccio.latent.paths.slerp`.
    """
    a, b = functional.normalize(a, dim=1), functional.normalize(b, dim=1)
    cosine = (a * b).sum(dim=1, keepdim=True).clamp(-1, 1)
    angle = t * cosine.acos()
    perpendicular = functional.normalize(b - cosine * a, dim=1)
    return functional.normalize(a * angle.cos() + perpendicular * angle.sin(), dim=1)


def _as_compared(images: Tensor, crop: bool) -> Tensor:
    # By the size of the network even after cropping, as the reference programs do.
    factor = min(images.shape[2:]) // REDUCED_SIDE
    if crop:
        h, w = images.shape[2] // 8, images.shape[3] // 8
        images = images[:, :, 3 * h : 7 * h, 2 * w : 6 * w]
    return functional.avg_pool2d(images, factor) if factor > 1 else images
