"""What a projection says about where a picture comes from, as a few numbers.

The energy of the most probable explanation tells how well this network explains a picture: what is left unexplained,
and how far latent and noise had to go for the rest. It alone misjudges plain and busy pictures: sky and fog are
explained well by any network, foliage badly even by the one that made it. So beside it stands how complex it is, and
whether its finest detail is missing: a picture that was reduced on its way looks plainer than what was painted.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.inversion.gauss_newton import energy
from capriccio.inversion.projection import Projection
from capriccio.inversion.w_statistics import WStatistics

VARIANCE_SCALES = (1, 2, 4, 8)
"""Variance is taken at these reductions: how much there is to paint, from details to layout."""

DETAIL_SCALES = (1, 2, 4)
"""What the next halving loses is taken at these."""

SHORTFALL = 0.8
"""Log units the finest detail may lie below that of the next scale before the picture counts as once reduced."""

COMPLEXITY = (
    *(f"log_variance_{s}" for s in VARIANCE_SCALES),
    *(f"log_detail_{s}" for s in DETAIL_SCALES),
    "missing_detail",
)
"""Names of the numbers that say how complex a picture is."""

FEATURES = ("log_energy", *COMPLEXITY)
"""Names of the numbers, in their order."""

_TINY = 1e-7


@torch.no_grad()
def evidence(pictures: Tensor, projection: Projection, statistics: WStatistics) -> Tensor:
    """Return the numbers of each picture, float64 [N, len(FEATURES)], on the CPU.

    Args:
        pictures: what was projected, −1…1, [N, C, H, W].
        projection: what was found, by the fast method into the space w.
        statistics: of the W it was projected into.
    """
    v = statistics.to_v(projection.ws[:, 0])
    explained = energy(pictures.to(v), projection.images.to(v), v, list(projection.noise.values()))
    numbers = [explained]
    for scale in VARIANCE_SCALES:
        reduced = _reduced(pictures, scale)
        numbers.append((reduced - reduced.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(1, 2, 3)))
    detail = [_detail(_reduced(pictures, scale)).square().mean(dim=(1, 2, 3)) for scale in DETAIL_SCALES]
    logs = [(n.double().cpu() + _TINY).log() for n in numbers + detail]
    finest, next_one = logs[len(numbers) : len(numbers) + 2]
    missing = (finest - next_one + SHORTFALL).clamp(max=0)
    return torch.stack([*logs, missing], dim=1)


def _reduced(images: Tensor, scale: int) -> Tensor:
    """Average blocks, as far as the picture has them."""
    scale = min(scale, *images.shape[2:])
    return functional.avg_pool2d(images, scale) if scale > 1 else images


def _detail(images: Tensor) -> Tensor:
    """What is lost by halving and enlarging again."""
    if min(images.shape[2:]) < 2:
        return torch.zeros_like(images)
    half = functional.avg_pool2d(images, 2)
    return images - functional.interpolate(half, images.shape[2:], mode="bilinear", align_corners=False)
