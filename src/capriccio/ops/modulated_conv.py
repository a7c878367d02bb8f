"""Modulated convolution: a weight per sample, without ever building one.

y[n] = conv(x[n], w'' ) with w' = w·s[n] and w'' = w' / |w'|. Scaling the activations before the shared convolution and
its result after it gives the same numbers as scaling the weight, and the factors follow from a matrix product.
Source: StyleGAN2, section 2.2 (equations 1 and 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.config import FormsConfig, RgbForm
from capriccio.ops.conv import MOST_PICTURE_CHANNELS, PLAIN, Resampling, conv2d_resample

EPS = 1e-8


@dataclass(frozen=True, slots=True)
class SharedWeight:
    """What a modulated convolution needs of its weight: all of it that does not depend on the sample."""

    weight: Tensor
    """[O, I, k, k] in the dtype of the features."""
    energy: Tensor
    """Σ_k w[o, i, k]², [O, I], float32."""

    @staticmethod
    def of(weight: Tensor, dtype: torch.dtype) -> SharedWeight:
        """Prepare ``weight`` [O, I, k, k], float32, for features in ``dtype``."""
        return SharedWeight(weight.to(dtype), weight.square().sum(dim=(2, 3)))


def demodulation(energy: Tensor, styles: Tensor) -> Tensor:
    """Return d[n, o] = (Σ_i s[n, i]² · Σ_k w[o, i, k]² + 1e-8)^(−1/2), [N, O], from Σ_k w² [O, I] and s [N, I]."""
    return (styles.square() @ energy.t() + EPS).rsqrt()


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    f: Tensor | None = None,
    *,
    resampling: Resampling = "none",
    demodulate: bool = True,
    gain: float = 1.0,
    shared: SharedWeight | None = None,
    forms: FormsConfig = PLAIN,
) -> Tensor:
    """Convolve every sample of ``x`` with ``weight`` scaled by its own style.

    Args:
        x: features, [N, I, H, W]; the convolution runs in its dtype.
        weight: [O, I, k, k], float32.
        styles: [N, I], float32.
        f: low-pass filter, when resampling.
        resampling: "none", "up" or "down" (see :func:`~capriccio.ops.conv.conv2d_resample`).
        demodulate: scale the result to unit variance.
        gain: factor on the result, for nothing.
        shared: what was prepared of ``weight`` before, for the dtype of ``x``; used by the demodulated form.
        forms: in which of several equal forms.

    Returns: [N, O, H', W'], dtype of ``x``.
    """
    if not demodulate:
        weight = weight if gain == 1 else weight * gain
        return conv2d_resample(x * _per_channel(styles, x), weight.to(x.dtype), f, resampling=resampling, forms=forms)
    if x.dtype == torch.float16:
        weight, styles = _rescaled_for_fp16(weight, styles)
        shared = None
    if shared is None:
        shared = SharedWeight.of(weight, x.dtype)
    demod = demodulation(shared.energy, styles) * gain
    y = conv2d_resample(x * _per_channel(styles, x), shared.weight, f, resampling=resampling, forms=forms)
    factors = _per_channel(demod, y)
    # Nobody else holds y: where no derivative needs it, it is scaled in place, and no new memory is touched.
    return y * factors if torch.is_grad_enabled() else y.mul_(factors)


def modulated_conv2d_per_sample(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    f: Tensor | None = None,
    *,
    resampling: Resampling = "none",
    demodulate: bool = True,
) -> Tensor:
    """Compute :func:`modulated_conv2d` literally, one weight per sample: the plain twin, for tests and for reading."""
    w = weight * styles[:, None, :, None, None]
    if demodulate:
        w = w * (w.square().sum(dim=(2, 3, 4), keepdim=True) + EPS).rsqrt()
    parts = [conv2d_resample(x[n : n + 1], w[n], f, resampling=resampling) for n in range(len(x))]
    return torch.cat(parts)


def modulated_to_rgb(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor, form: RgbForm = "matrix") -> Tensor:
    """Modulated 1×1 convolution to few channels, without demodulation, [N, I, H, W] → [N, O, H, W].

    With so few outputs the per-sample weight [N, O, I] is smaller than one pixel row of ``x``: scaling it instead of
    the features saves a pass over them. ``form``: by a product of matrices, or as sums over the maps, which a compiler
    fuses with what made them.
    """
    n, c, h, w = x.shape
    per_sample = (weight[None, :, :, 0, 0] * styles[:, None, :]).to(x.dtype)
    if form == "pointwise" and len(weight) <= MOST_PICTURE_CHANNELS:
        sums = [(x * per_sample[:, o, :, None, None]).sum(dim=1) for o in range(len(weight))]
        return (torch.stack(sums, dim=-1) + bias.to(x.dtype)).permute(0, 3, 1, 2)
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
    rgb = torch.baddbmm(bias.to(x.dtype)[None, None], pixels, per_sample.transpose(1, 2))
    return rgb.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def _per_channel(factors: Tensor, like: Tensor) -> Tensor:
    return factors.to(like.dtype)[:, :, None, None]


def _rescaled_for_fp16(weight: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
    # Products of raw weights and styles can leave fp16's range before the demodulation brings them back; it cancels
    # any factor per output channel of the weight and per sample of the style.
    fan_in = weight[0].numel()
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    return weight / (largest * fan_in**0.5), F.normalize(styles, p=float("inf"), dim=1)
