"""The colour part: one matrix per picture, on RGB values.

Source: the ADA paper, appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor

from capriccio.augmentation.parameters import ColorParameters


def color_matrices(given: ColorParameters) -> Tensor:
    """Return C [N, 3, 4]: three rows that act on (r, g, b, 1), pictures in −1…1."""
    count = len(given.contrast)
    identity = torch.eye(4)
    grey = torch.tensor([1.0, 1.0, 1.0, 0.0]) / 3**0.5
    onto_grey = torch.outer(grey, grey)
    x, y, z = grey[:3].tolist()
    cross = torch.zeros(4, 4)
    cross[:3, :3] = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])

    def each(values: Tensor) -> Tensor:
        return values[:, None, None]

    brightness = identity.repeat(count, 1, 1)
    brightness[:, :3, 3] = given.brightness[:, None]
    contrast = torch.diag_embed(torch.stack([given.contrast] * 3 + [torch.ones(count)], dim=1))
    lumaflip = identity - 2 * each(given.lumaflip) * onto_grey
    cos, sin = each(given.hue.cos()), each(given.hue.sin())
    hue = cos * identity + sin * cross + (1 - cos) * onto_grey
    hue[:, 3, 3] = 1
    saturation = onto_grey + each(given.saturation) * (identity - onto_grey)
    return (saturation @ hue @ lumaflip @ contrast @ brightness)[:, :3].contiguous()


def change_colors(images: Tensor, matrices: Tensor) -> Tensor:
    """Apply colour matrices [N, 3, 4] to ``images`` [N, C, H, W] of 3 channels (RGB) or 1 (grey)."""
    flat = images.flatten(2)
    if images.shape[1] == 1:
        mean = matrices.mean(dim=1, keepdim=True)
        changed = flat * mean[:, :, :3].sum(dim=2, keepdim=True) + mean[:, :, 3:]
    else:
        changed = torch.baddbmm(matrices[:, :, 3:], matrices[:, :, :3], flat)
    return changed.view(images.shape)
