"""What a projection says about where a picture comes from, as a few numbers.

A distance alone misjudges plain and busy pictures: sky and fog reconstruct well under any network, foliage badly even
under the one that made it. So beside how far the reconstruction is stand how complex the picture is, and how far an
easy guess was before anything was optimised.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from capriccio.inversion.project import Projection

SCALES = (1, 2, 4, 8)
"""Pixels are compared at these reductions; the coarse ones hardly notice JPEG, blur and resizing."""

FEATURES = (
    "log_distance",
    "log_first_distance",
    "latent_norm",
    *(f"log_error_{s}" for s in SCALES),
    *(f"log_variance_{s}" for s in SCALES),
    "log_detail",
    "log_detail_error",
)
"""Names of the numbers, in their order."""

_TINY = 1e-6


@torch.no_grad()
def evidence(pictures: Tensor, projection: Projection, whitened: Tensor) -> Tensor:
    """Return the numbers of each picture, float64 [N, len(FEATURES)], on the CPU.

    Args:
        pictures: what was projected, −1…1, [N, C, H, W].
        projection: what was found.
        whitened: its latents in the network's own spreads, [N, w_dim].
    """
    pictures, found = pictures.float().cpu(), projection.images.float().cpu()
    columns = [projection.distances, projection.history[0], whitened.square().mean(dim=1)]
    numbers = [_log(columns[0]), _log(columns[1]), columns[2]]
    reduced = [(_reduced(pictures, s), _reduced(found, s)) for s in SCALES]
    numbers += [_log((a - b).square().mean(dim=(1, 2, 3))) for a, b in reduced]
    numbers += [_log((a - a.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(1, 2, 3))) for a, _ in reduced]
    numbers.append(_log(_detail(pictures).square().mean(dim=(1, 2, 3))))
    numbers.append(_log(_detail(pictures - found).square().mean(dim=(1, 2, 3))))
    return torch.stack([n.double().cpu() for n in numbers], dim=1)


def _log(values: Tensor) -> Tensor:
    return (values + _TINY).log()


def _reduced(images: Tensor, scale: int) -> Tensor:
    """Average blocks, as far as the picture has them."""
    scale = min(scale, *images.shape[2:])
    return functional.avg_pool2d(images, scale) if scale > 1 else images


def _detail(images: Tensor) -> Tensor:
    """What is lost by halving and enlarging again."""
    half = functional.avg_pool2d(images, 2)
    return images - functional.interpolate(half, images.shape[2:], mode="bilinear", align_corners=False)
