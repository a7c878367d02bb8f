"""The whole pipeline: from random parameters to a plan of tensors, and from pictures to augmented pictures.

Planning happens outside the phases of training, on the CPU: what depends on data, such as the size of the margins, is
settled there. Applying a plan draws nothing and decides nothing, so it compiles, and it is differentiable twice.

Source: the ADA paper (Karras et al. 2020), section 2 and appendix B.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from capriccio.augmentation.bands import check_size, filter_bands, filter_taps
from capriccio.augmentation.color import change_colors, color_matrices
from capriccio.augmentation.cutout import cutout_mask
from capriccio.augmentation.geometry import Geometry, batch_margins, inverse_matrices, plan_geometry, resample
from capriccio.augmentation.parameters import Parameters, Size
from capriccio.config import FirForm


class Augmentation(NamedTuple):
    """What happens to the pictures of one batch, as tensors; None = nothing of the kind."""

    geometry: Geometry | None = None
    color: Tensor | None = None
    """[N, 3, 4]"""
    taps: Tensor | None = None
    """[N, 43]"""
    noise: Tensor | None = None
    """[N, C, H, W]"""
    keep: Tensor | None = None
    """[N, 1, H, W], 0 where something is cut out."""


def plan(
    parameters: Parameters,
    size: Size,
    *,
    rows: slice = slice(None),
    device: torch.device | str = "cpu",
    fixed_shape: bool = False,
) -> Augmentation:
    """Return what :func:`augment` needs.

    Args:
        parameters: of a whole batch, on the CPU.
        size: channels, height and width of the pictures.
        rows: the pictures that are augmented here; the margins are those of the whole batch all the same, so that
            several processes get the numbers of one.
        device: where pictures will be.
        fixed_shape: sizes of tensors must not depend on the margins, for compiled and recorded phases.

    Raises: ShapeError for pictures that are too small for the image filter.
    """
    _, height, width = size
    geometry = color = taps = noise = keep = None
    if parameters.geometry is not None:
        matrices = inverse_matrices(parameters.geometry, height, width)
        margins = batch_margins(matrices, height, width)
        geometry = plan_geometry(matrices[rows], margins, height, width, fixed_shape=fixed_shape, device=device)
    if parameters.color is not None:
        color = color_matrices(parameters.color)[rows]
    if parameters.band_gains is not None:
        check_size(height, width)
        taps = filter_taps(parameters.band_gains)[rows]
    if parameters.noise is not None:
        noise = (parameters.noise.sigma[:, None, None, None] * parameters.noise.noise)[rows]
    if parameters.cutout is not None:
        keep = cutout_mask(parameters.cutout, height, width)[rows]
    return _to(Augmentation(geometry, color, taps, noise, keep), torch.device(device))


def augment(images: Tensor, planned: Augmentation | None, fir: FirForm = "depthwise") -> Tensor:
    """Return ``images`` [N, C, H, W] augmented as planned: their shape, in float32, about −1…1 but not clipped.

    Without a plan they are returned as they are. ``fir``: in which form pictures are filtered that are too large for
    products with matrices. Of RGBA pictures alpha is moved with the rest, and not changed
    otherwise.
    """
    if planned is None:
        return images
    images = images.float()
    if planned.geometry is not None:
        images = resample(images, planned.geometry, fir)
    alpha = images[:, 3:] if images.shape[1] == 4 else None
    if alpha is not None:
        images = images[:, :3]
    if planned.color is not None:
        images = change_colors(images, planned.color)
    if planned.taps is not None:
        images = filter_bands(images, planned.taps)
    if planned.noise is not None:
        images = images + planned.noise[:, : images.shape[1]]
    if planned.keep is not None:
        images = images * planned.keep
    return images if alpha is None else torch.cat([images, alpha], dim=1)


def _to(planned: Augmentation, device: torch.device) -> Augmentation:
    """Move what is not on ``device`` yet, all at once: every copy of its own costs as much as a thousand numbers."""
    staying = [leaf for leaf in tree_leaves(planned) if _is_on_cpu(leaf)]
    if device.type == "cpu" or not staying:
        return planned
    flat = torch.cat([leaf.reshape(-1) for leaf in staying])
    # Only from pinned memory is a copy queued without waiting for what the device is doing.
    flat = flat.pin_memory() if device.type == "cuda" else flat
    parts = iter(torch.split(flat.to(device, non_blocking=True), [leaf.numel() for leaf in staying]))
    moved: Augmentation = tree_map(lambda leaf: next(parts).view(leaf.shape) if _is_on_cpu(leaf) else leaf, planned)
    return moved


def _is_on_cpu(leaf: Tensor | None) -> bool:
    return leaf is not None and leaf.device.type == "cpu"
