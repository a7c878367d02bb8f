"""Which levels of a network run in low precision."""

from __future__ import annotations

from collections.abc import Sequence


def low_precision_levels(levels: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the ``count`` highest of ``levels``, never level 4.

    Level 4 and the discriminator's end always stay in float32: they are small, and statistics are formed there.
    Source: StyleGAN2-ADA, appendix; 4 levels there.
    """
    return tuple(sorted(level for level in levels if level >= 8)[-count:]) if count else ()
