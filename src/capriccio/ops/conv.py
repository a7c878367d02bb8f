"""Convolution combined with resampling: plain, ×2 up, ÷2 down, with all padding applied once."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from capriccio.config import FormsConfig
from capriccio.ops.convolution import conv2d
from capriccio.ops.layout import memory_format
from capriccio.ops.resample import downsample2d, upfirdn2d, upsample2d
from capriccio.ops.up_convolution import up_convolution

Resampling = Literal["none", "up", "down"]

PLAIN = FormsConfig(fir="depthwise", up="transposed", epilogue="matrix", rgb="matrix", layout="channels_last")
"""The forms that are fastest on processors."""

MOST_PICTURE_CHANNELS = 4
"""What may have so few channels that sums of single ones are worth while: pictures, RGBA at most."""


def conv2d_resample(
    x: Tensor,
    weight: Tensor,
    f: Tensor | None = None,
    *,
    resampling: Resampling = "none",
    bias: Tensor | None = None,
    forms: FormsConfig = PLAIN,
) -> Tensor:
    """Convolve ``x`` with ``weight``, resampling by 2 with the low-pass filter ``f``.

    Args:
        x: features, [N, I, H, W].
        weight: [O, I, k, k] with odd k; cross-correlation for "none" and "down", true convolution for "up", the
            orientation in which a transposed convolution uses the weight as it is stored.
        f: filter of :func:`~capriccio.ops.resample.make_filter`, [K, K]; needed when resampling.
        resampling: "none" keeps the size, "up" doubles it, "down" halves it.
        bias: [O], added to the result; not with "up".
        forms: in which of several equal forms.

    Returns: [N, O, H', W'].
    Source: StyleGAN2, appendix B.
    """
    k = weight.shape[-1]
    p = k // 2
    if resampling == "none":
        if forms.rgb == "pointwise" and k == 1 and weight.shape[1] <= MOST_PICTURE_CHANNELS:
            return _weighted_sum(x, weight, bias).contiguous(memory_format=memory_format(forms))
        return conv2d(x, weight, bias, padding=p)
    assert f is not None, "resampling needs a filter"
    taps = f.shape[-1]
    if resampling == "down":
        if k == 1:
            return conv2d(downsample2d(x, f, form=forms.fir), weight, bias)
        before, after = p + (taps - 1) // 2, p + (taps - 2) // 2
        return conv2d(upfirdn2d(x, f, padding=(before, after) * 2, form=forms.fir), weight, bias, stride=2)
    assert bias is None, "bias goes after the filter when up-sampling"
    if k == 1:
        # 1×1 and zero-insertion commute: convolve the small map.
        return upsample2d(conv2d(x, weight), f, form=forms.fir)
    return up_convolution(x, weight, f, forms)


def _weighted_sum(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve few maps by a 1×1 kernel, one after the other: multiplications and additions of whole maps."""
    maps = [x[:, i : i + 1] * weight[None, :, i] for i in range(x.shape[1])]
    y = maps[0] if bias is None else maps[0] + bias[None, :, None, None]
    for more in maps[1:]:
        y = y + more
    return y
