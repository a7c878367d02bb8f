"""Modulated convolution: a weight per sample, without ever building one.

y[n] = conv(x[n], w'' ) with w' = w·s[n] and w'' = w' / |w'|. Scaling the activations before the shared convolution and
its result after it gives the same numbers as scaling the weight, and the factors follow from a matrix product.
Source: StyleGAN2, section 2.2 (equations 1 and 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.ops.conv import Resampling, conv2d_resample

EPS = 1e-8


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Return d[n, o] = (Σ_i s[n, i]² · Σ_k w[o, i, k]² + 1e-8)^(−1/2), [N, O], from w [O, I, k, k] and s [N, I]."""
    return (styles.square() @ weight.square().sum(dim=(2, 3)).t() + EPS).rsqrt()


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    f: Tensor | None = None,
    *,
    resampling: Resampling = "none",
    demodulate: bool = True,
    gain: float = 1.0,
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

    Returns: [N, O, H', W'], dtype of ``x``.
    """
    demod = demodulation(weight, styles) * gain if demodulate else None
    if demod is not None and x.dtype == torch.float16:
        weight, styles, demod = _rescaled_for_fp16(weight, styles, gain)
    elif demod is None and gain != 1:
        weight = weight * gain
    y = conv2d_resample(x * _per_channel(styles, x), _shared(weight, x), f, resampling=resampling)
    if demod is None:
        return y
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


def modulated_to_rgb(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor) -> Tensor:
    """Modulated 1×1 convolution to few channels, without demodulation, [N, I, H, W] → [N, O, H, W].

    With so few outputs the per-sample weight [N, O, I] is smaller than one pixel row of ``x``: scaling it instead of
    the features saves a pass over them.
    """
    n, c, h, w = x.shape
    per_sample = (weight[None, :, :, 0, 0] * styles[:, None, :]).to(x.dtype)
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
    rgb = torch.baddbmm(bias.to(x.dtype)[None, None], pixels, per_sample.transpose(1, 2))
    return rgb.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def _per_channel(factors: Tensor, like: Tensor) -> Tensor:
    return factors.to(like.dtype)[:, :, None, None]


def _shared(weight: Tensor, like: Tensor) -> Tensor:
    return weight.to(like.dtype)


def _rescaled_for_fp16(weight: Tensor, styles: Tensor, gain: float) -> tuple[Tensor, Tensor, Tensor]:
    # Products of raw weights and styles can leave fp16's range before the demodulation brings them back; it cancels
    # any factor per output channel of the weight and per sample of the style.
    fan_in = weight[0].numel()
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    weight = weight / (largest * fan_in**0.5)
    styles = F.normalize(styles, p=float("inf"), dim=1)
    return weight, styles, demodulation(weight, styles) * gain
