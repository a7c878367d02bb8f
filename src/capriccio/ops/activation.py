"""Bias, nonlinearity, gain and clamp in one step, and the second-moment normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.config import Activation, EpilogueForm

SLOPE = 0.2
SQRT2 = 2.0**0.5

_FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (torch.relu, SQRT2),
    "lrelu": (lambda x: F.leaky_relu(x, SLOPE), SQRT2),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (F.elu, 1.0),
    "selu": (F.selu, 1.0),
    "softplus": (F.softplus, 1.0),
    "swish": (F.silu, SQRT2),
}

_HOMOGENEOUS = frozenset({"linear", "relu", "lrelu"})
"""φ(a·x) = a·φ(x) for a > 0: with these a gain may be applied to weight and bias, before the activation."""


def default_gain(activation: Activation) -> float:
    """Return the gain that keeps the second moment through ``activation``: √2 for the relu family, else 1."""
    return _FUNCTIONS[activation][1]


def is_homogeneous(activation: Activation) -> bool:
    """Return whether a positive gain commutes with ``activation``."""
    return activation in _HOMOGENEOUS


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation = "linear",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Compute ``clip(gain · φ(x + bias), −clamp, +clamp)``.

    Args:
        x: features with channels in dimension 1, [N, C, ...].
        bias: one value per channel, [C]; None = no bias.
        activation: φ.
        gain: factor after φ; None = the activation's default.
        clamp: limit after the gain; None = no clamp.

    Returns: a tensor like ``x``.
    Source: StyleGAN2, appendix B; the order bias, φ, gain, clamp is the reference's.
    """
    function, default = _FUNCTIONS[activation]
    gain = default if gain is None else gain
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(-1, *[1] * (x.ndim - 2))
    x = function(x)
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def leaky_relu_clamp(y: Tensor, clamp: float | None) -> Tensor:
    """Leaky ReLU and clamp of a fresh tensor, the first in place: one pass and one map of memory less."""
    y = F.leaky_relu_(y, SLOPE)
    return y if clamp is None else y.clamp(-clamp, clamp)


def noise_bias_leaky_relu(
    x: Tensor,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor,
    *,
    clamp: float | None = None,
    form: EpilogueForm = "matrix",
) -> Tensor:
    """Return ``clip(lrelu(x + strength·noise + bias), −clamp, +clamp)``, [N, C, H, W]; gains are folded in before.

    In the matrix form both terms are one matrix product of inner size 2, [noise, 1] · [strength; bias], that
    accumulates onto the features: one fast pass on processors, where two broadcast additions took five times as long.
    Its derivative with respect to strength and bias is a matrix product too. A compiler cannot fuse a product with its
    neighbours; for it there is the pointwise form.

    Args:
        x: features, [N, C, H, W]; overwritten where no derivatives are recorded, which saves copying them.
        noise: maps, [N or 1, 1, H, W]; None = no noise.
        strength: scalar; None only without noise.
        bias: [C].
        clamp: limit of the result; None = no clamp.
        form: how the two terms are added.
    """
    if noise is None or strength is None:
        return leaky_relu_clamp(x + bias.to(x.dtype)[None, :, None, None], clamp)
    if form == "pointwise":
        added = (noise * strength).to(x.dtype) + bias.to(x.dtype)[None, :, None, None]
        return leaky_relu_clamp(x + added, clamp)
    n, c, h, w = x.shape
    left = F.pad(noise.to(x.dtype).reshape(-1, h * w, 1), (0, 1), value=1.0).expand(n, -1, -1)
    right = torch.stack([strength.expand(c), bias]).to(x.dtype).expand(n, -1, -1)
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
    y = torch.baddbmm(pixels, left, right) if torch.is_grad_enabled() else pixels.baddbmm_(left, right)
    # In place on the matrix, not on its view as a map: autograd differentiates an operation in place on a view by
    # copying the gradient into another layout, which took ten times as long as the derivative itself.
    return leaky_relu_clamp(y, clamp).reshape(n, h, w, c).permute(0, 3, 1, 2)


def normalize_second_moment(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each row of ``x`` [N, D] to unit mean square (also called pixel norm)."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()
