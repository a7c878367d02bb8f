"""The 3×3 convolution that doubles the size of a map, in three forms with the same result.

* *transposed*: a transposed convolution with stride 2, then the low-pass filter: the least arithmetic, and what
  processors are fastest at.
* *phases*: the transposed convolution as one ordinary 2×2 convolution of the small map to four phases, which are
  interleaved; then the filter. 16 products where 9 suffice, in a shape that every library is good at in all directions.
* *folded*: the filter folded into the weight, too: one 3×3 convolution of the small map to four phases, and no pass
  over the large map at all. Four times the products of a transposed convolution; worth it where memory is the limit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.config import FormsConfig
from capriccio.ops.convolution import conv2d, conv_transpose2d
from capriccio.ops.layout import memory_format
from capriccio.ops.resample import upfirdn2d

_SIDE, _TAPS = 3, 4
"""Side of the weight and of the filter that the other forms are written for; others are transposed."""


def up_convolution(x: Tensor, weight: Tensor, f: Tensor, forms: FormsConfig) -> Tensor:
    """Insert zeros, convolve with ``weight`` and filter with ``f``: [N, I, H, W] → [N, O, 2H, 2W].

    Args:
        x: features.
        weight: [O, I, k, k], k odd and at least 3, in the orientation of a true convolution.
        f: filter of :func:`~capriccio.ops.resample.make_filter`, [K, K].
        forms: which form.
    """
    k, taps = weight.shape[-1], f.shape[-1]
    plain = forms.up == "transposed" or k != _SIDE or f.ndim != 2 or taps != _TAPS
    if not plain and forms.up == "folded":
        return F.pixel_shuffle(conv2d(x, _laid_out(folded_weight(weight, f), forms), padding=1), 2)
    if plain:
        y = conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    else:
        y = F.pixel_shuffle(conv2d(x, _laid_out(phase_weight(weight), forms), padding=1), 2)
        y = y[:, :, : 2 * x.shape[2] + 1, : 2 * x.shape[3] + 1]
    # The transposed convolution spreads each sample over k positions, that is k − 1 of padding; what the two-step
    # form (zero-insert, pad, filter, convolve) has more or less than that is applied by the filter.
    p = k // 2
    before, after = p + (taps + 1) // 2 - (k - 1), p + (taps - 2) // 2 - (k - 2)
    return upfirdn2d(y, f, padding=(before, after) * 2, gain=4.0, form=forms.fir)


def _laid_out(weight: Tensor, forms: FormsConfig) -> Tensor:
    return weight.contiguous(memory_format=memory_format(forms))


def phase_weight(weight: Tensor) -> Tensor:
    """Return the 2×2 weight [4O, I, 2, 2] whose four outputs for each of ``weight`` are the phases of its result.

    An even position sees the sample before through tap 2 and its own through tap 0, an odd one its own through tap 1.
    """
    rows = _phases(weight, 2)
    both = torch.stack([_phases(row, 3) for row in rows.unbind(1)], dim=1)
    o, i = weight.shape[:2]
    return both.reshape(4 * o, i, 2, 2)


def _phases(weight: Tensor, dim: int) -> Tensor:
    """Return [O, 2, I, ...]: the taps of even and of odd positions along ``dim``, two for each."""
    before, own, after = weight.unbind(dim)  # taps 0, 1, 2 of a true convolution
    even = torch.stack([after, before], dim=dim)
    odd = torch.stack([torch.zeros_like(own), own], dim=dim)
    return torch.stack([even, odd], dim=1)


def folded_weight(weight: Tensor, f: Tensor) -> Tensor:
    """Return the 3×3 weight [4O, I, 3, 3] of the whole operation, filter included, for its four phases.

    Filter and weight together have six taps; of these, phase p sees taps p + 4, p + 2 and p on the sample before, its
    own, and the one after.
    """
    o, i, k, _ = weight.shape
    wide = torch.promote_types(weight.dtype, torch.float32)
    kernel = (f.flip((0, 1)) * 4.0)[None, None].to(wide)
    whole = F.conv2d(weight.to(wide).reshape(o * i, 1, k, k), kernel, padding=_TAPS - 1)
    rows = torch.stack([_every_other(whole, 2, p) for p in (0, 1)], dim=1)
    both = torch.stack([_every_other(rows, 4, p) for p in (0, 1)], dim=2)
    both = both.reshape(o, i, 2, 2, 3, 3).permute(0, 2, 3, 1, 4, 5).reshape(4 * o, i, 3, 3)
    return both.to(weight.dtype)


def _every_other(whole: Tensor, dim: int, phase: int) -> Tensor:
    # Selected one by one: a list as index would become a tensor on the host, and be waited for.
    return torch.stack([whole.select(dim, tap) for tap in (phase + 4, phase + 2, phase)], dim=dim)
