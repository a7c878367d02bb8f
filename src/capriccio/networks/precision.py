"""Which levels of a network run in low precision, and what that is called."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def low_precision_levels(levels: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the ``count`` highest of ``levels``, never level 4.

    Level 4 and the discriminator's end always stay in float32: they are small, and statistics are formed there.
    Source: StyleGAN2-ADA, appendix; 4 levels there.
    """
    return tuple(sorted(level for level in levels if level >= 8)[-count:]) if count else ()


def precision_name(dtype: torch.dtype | None) -> str:
    """Return what people call the precision of the highest levels; None = float32."""
    return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
