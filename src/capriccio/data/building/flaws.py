"""What makes a photograph doubtful as training material: flatness, bars and frames, strips of lettering.

Everything is judged on one grey picture of a few hundred pixels, so that it costs about a millisecond. The thresholds
were set on photographs of landscapes, cats and cars, see docs/datasets.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]

ANALYSIS_SIDE = 192
"""Shorter side in pixels at which pictures are judged; smaller ones as they are."""

FLAT_DEVIATION = 5.0
"""A picture whose grey levels deviate less than this shows nearly nothing."""

_BAR_DEVIATION = 3.0
"""Grey levels within a row that belongs to a bar."""
_BAR_TOLERANCE = 8.0
"""Grey levels between the two bars of a pair, and between the rows of one."""
_BAR_SHARE = 0.02
"""Of the side, for each bar of a pair."""
_BAR_EDGE_ROWS = 5
_BAR_STEP = 10.0
"""Grey levels by which the picture sets itself off from the bar."""

_STRIP_SHARES = (0.05, 0.08, 0.12)
_STRIP_GROUND = 0.5
"""Share of a strip's pixels within a few levels of its commonest level."""
_STROKE_STEP = 50.0
_STROKES = (0.06, 0.45)
"""Share of neighbours along a row that differ by a stroke's step: lettering has many, but not everywhere."""
_STRIP_EXTENT = 0.2
"""Share of the width over which the strokes spread."""
_STRIP_CONTRAST = 4.0
"""How many times denser the strokes are in the strip than in the rest of the picture."""


def small_grey(image: Image.Image) -> Image.Image:
    """Return a picture of mode L, RGB or RGBA in grey, at the size at which flaws are judged."""
    factor = max(1, min(image.size) // ANALYSIS_SIDE)
    small = image.reduce(factor) if factor > 1 else image
    return (small.convert("RGB") if small.mode == "RGBA" else small).convert("L")


def is_flat(grey: Grey) -> bool:
    """Whether the picture shows nearly nothing."""
    return float(grey.std()) < FLAT_DEVIATION


def bars(grey: Grey) -> str | None:
    """Return which sides are covered by bars of one colour, in words; None when there are none.

    Only pairs count, so that a clear sky is no bar: above and below, left and right, or all around.
    """
    if is_flat(grey):
        return None
    pairs = [(_has_bar_pair(grey), "above and below"), (_has_bar_pair(grey.T), "left and right")]
    found = [words for present, words in pairs if present]
    if not found:
        return None
    return "a frame all around" if len(found) == 2 else f"bars {found[0]}"


def lettering(grey: Grey) -> str | None:
    """Return along which edge a strip of lettering runs, in words; None when there is none.

    Looks for dense strokes on an even ground, far denser than anywhere else: a caption or a watermark in a strip of
    its own. Lettering that shines through the picture itself is not found.
    """
    height, width = grey.shape
    if height < 64 or width < 64:
        return None
    steps = np.abs(np.diff(grey, axis=1)) > _STROKE_STEP
    strokes = steps.mean(axis=1)
    for share in _STRIP_SHARES:
        rows = max(6, round(share * height))
        for edge, strip in (("below", slice(height - rows, height)), ("above", slice(0, rows))):
            density = float(strokes[strip].mean())
            rest = float(strokes.sum() - density * rows) / (height - rows)
            dense = _STROKES[0] <= density <= _STROKES[1] and density >= _STRIP_CONTRAST * rest
            if dense and _is_lettering(grey[strip], steps[strip]):
                return f"a strip of lettering {edge}"
    return None


def _is_lettering(strip: Grey, steps: NDArray[np.bool_]) -> bool:
    """Whether strokes spread over a strip whose ground is even."""
    columns = steps.any(axis=0).mean()
    levels = np.bincount((strip.ravel() / 8).astype(np.int64), minlength=32)
    ground = (levels + np.roll(levels, 1))[1:].max() / strip.size
    return bool(columns >= _STRIP_EXTENT and ground >= _STRIP_GROUND)


def _has_bar_pair(grey: Grey) -> bool:
    """Whether rows of one level lie at both ends, set off from what is between them."""
    height = len(grey)
    first, last = _bar_height(grey), _bar_height(grey[::-1])
    least = max(2, round(_BAR_SHARE * height))
    if first < least or last < least or first + last >= height:
        return False
    levels = float(grey[:first].mean()), float(grey[height - last :].mean())
    inside = grey[first : height - last]
    steps = _step(inside, levels[0]), _step(inside[::-1], levels[1])
    return abs(levels[0] - levels[1]) <= _BAR_TOLERANCE and min(steps) >= _BAR_STEP


def _step(inside: Grey, level: float) -> float:
    """Return how far the first rows beside a bar are from its level; the very first may be smeared by compression."""
    return float(np.abs(inside[:_BAR_EDGE_ROWS] - level).mean(axis=1).max())


def _bar_height(grey: Grey) -> int:
    """Return how many rows from the first on are of one level."""
    even = (grey.std(axis=1) <= _BAR_DEVIATION) & (np.abs(grey.mean(axis=1) - grey[0].mean()) <= _BAR_DEVIATION)
    return len(grey) if even.all() else int(np.argmin(even))
