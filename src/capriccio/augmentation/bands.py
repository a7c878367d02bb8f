"""The image filter: four bands of spatial frequencies, each amplified or damped, the energy of pictures kept.

Source: the ADA paper, appendix B and figure 12; the bands are those of the wavelet Symlet 2 (Daubechies 1992).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from capriccio.errors import ShapeError

SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
"""The low-pass filter of the wavelet Symlet 2."""

NUM_BANDS = 4
_EXPECTED_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Share of each band in the energy of a photograph, whose spectrum falls as 1/f."""


@cache
def filter_bank() -> Tensor:
    """Return the bands as symmetric filters [4, 43], from coarse to fine; their sum is the identity."""
    low = np.array(SYM2)
    high = low * (-1) ** np.arange(len(low))
    smoothing = np.convolve(low, low[::-1]) / 2
    detail = np.convolve(high, high[::-1]) / 2
    rows = np.eye(NUM_BANDS, 1)
    for band in range(1, NUM_BANDS):
        spread = np.zeros((NUM_BANDS, 2 * rows.shape[1] - 1))
        spread[:, ::2] = rows
        rows = np.stack([np.convolve(row, smoothing) for row in spread])
        middle = rows.shape[1] // 2
        half = len(detail) // 2
        rows[band, middle - half : middle + half + 1] += detail
    return torch.from_numpy(rows).float()


REACH = 21
"""Pixels that the filter sees on each side."""


def filter_taps(band_gains: Tensor) -> Tensor:
    """Return one filter per picture [N, 43] for gains [N, 4], balanced so that a photograph keeps its energy."""
    power = torch.tensor(_EXPECTED_POWER)
    total = torch.ones_like(band_gains)
    for band in range(NUM_BANDS):
        gains = torch.ones_like(band_gains)
        gains[:, band] = band_gains[:, band]
        total = total * gains / (power * gains.square()).sum(dim=1, keepdim=True).sqrt()
    return total @ filter_bank()


def filter_bands(images: Tensor, taps: Tensor) -> Tensor:
    """Filter ``images`` [N, C, H, W] along rows and columns, each with its own taps [N, 43], reflected at the edges."""
    n, c, h, w = images.shape
    kernel = taps.repeat_interleave(c, dim=0)
    x = F.pad(images.contiguous(), [REACH] * 4, mode="reflect").view(1, n * c, h + 2 * REACH, w + 2 * REACH)
    x = F.conv2d(x, kernel[:, None, None, :], groups=n * c)
    x = F.conv2d(x, kernel[:, None, :, None], groups=n * c)
    return x.view(n, c, h, w)


def check_size(height: int, width: int) -> None:
    """Raise ShapeError for pictures that are too small to be reflected as far as the filter sees."""
    if min(height, width) <= REACH:
        raise ShapeError(
            f"augment: the image filter needs pictures larger than {REACH} pixels, these have {height}×{width}; "
            "choose a pipe without the letter f, or set augment.transformations.imgfilter to 0."
        )
