"""Small line plots as inline SVG: nothing to install, sharp at every size, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from capriccio.errors import UsageError
from capriccio.rendering.markup import escape

WIDTH, HEIGHT = 720, 280
"""Size of the drawing in its own units; on the page it takes the width that is there."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 136, 16, 44
_MAX_POINTS = 600  # more than the plot has pixels to show

NUM_STYLES = 6
"""Line styles the style sheet knows; each has its own colour and dash, so colour never stands alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line."""

    name: str
    """Written at the end of the line."""
    points: Sequence[tuple[float, float]]
    """(x, y), in order; points that are not finite leave a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines over a common axis."""

    curves: Sequence[Curve]
    """At least one line with at least one finite point."""
    x_label: str
    """What x is, with its unit."""
    y_label: str
    """What y is, with its unit."""
    caption: str = ""
    """What the plot shows."""

    def __post_init__(self) -> None:
        if not any(_finite(point) for curve in self.curves for point in curve.points):
            raise UsageError(f"plot '{self.caption or self.y_label}': there is no finite point to draw.")


def plot_svg(plot: Plot) -> str:
    """Return ``plot`` as one ``<svg>`` element; every text is escaped."""
    points = [point for curve in plot.curves for point in curve.points if _finite(point)]
    x_low, x_high = _widened(min(x for x, _ in points), max(x for x, _ in points))
    y_low, y_high = _widened(min(y for _, y in points), max(y for _, y in points))
    step = tick_step(y_low, y_high, 5)
    y_low, y_high = math.floor(y_low / step + 1e-9) * step, math.ceil(y_high / step - 1e-9) * step

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for y in ticks(y_low, y_high, step):
        _, v = place(x_low, y)
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{v:.1f}" y2="{v:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 10}" y="{v + 4:.1f}" text-anchor="end">{_number(y)}</text>')
    for x in ticks(x_low, x_high, tick_step(x_low, x_high, 6)):
        u, _ = place(x, y_low)
        parts.append(f'<text class="tick" x="{u:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
                     f"{_number(x)}</text>")  # fmt: skip
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
                 f"{escape(plot.x_label)}</text>")  # fmt: skip
    parts.append(f'<text class="axis" transform="translate(14 {(_TOP + HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)" '
                 f'text-anchor="middle">{escape(plot.y_label)}</text>')  # fmt: skip
    ends: list[tuple[float, int, str]] = []
    for index, curve in enumerate(plot.curves):
        style = index % NUM_STYLES
        runs = _runs(_thinned(curve.points))
        for run in runs:
            path = " ".join(f"{u:.1f},{v:.1f}" for u, v in (place(x, y) for x, y in run))
            if len(run) == 1:
                u, v = place(*run[0])
                parts.append(f'<circle class="dot series-{style}" cx="{u:.1f}" cy="{v:.1f}" r="3"/>')
            else:
                parts.append(f'<polyline class="series-{style}" points="{path}"/>')
        if runs:
            ends.append((place(*runs[-1][-1])[1], style, curve.name))
    for v, style, name in _apart(ends):
        parts.append(f'<text class="name name-{style}" x="{WIDTH - _RIGHT + 8}" y="{v + 4:.1f}">'
                     f"{escape(_short(name))}</text>")  # fmt: skip
    label = escape(plot.caption or f"{plot.y_label} over {plot.x_label}")
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def tick_step(low: float, high: float, count: int) -> float:
    """Return the round step (1, 2 or 5 times a power of ten) that cuts the range into about ``count`` parts."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    return min((power * factor for factor in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / raw)))


def ticks(low: float, high: float, step: float) -> list[float]:
    """Return the multiples of ``step`` that lie in ``low`` … ``high``."""
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _finite(point: tuple[float, float]) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _widened(low: float, high: float) -> tuple[float, float]:
    if high > low and math.isfinite(high - low) and (high - low) > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, low + room


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    stride = -(-len(points) // _MAX_POINTS)
    return points if stride <= 1 else [*points[:-1:stride], points[-1]]


def _runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Cut a line where points are not finite."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if _finite(point):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _apart(ends: list[tuple[float, int, str]]) -> list[tuple[float, int, str]]:
    """Push names at line ends apart until none covers another, and keep them inside the drawing."""
    placed: list[tuple[float, int, str]] = []
    lowest = float(_TOP)
    for wanted, style, name in sorted(ends):
        placed.append((max(wanted, lowest), style, name))
        lowest = placed[-1][0] + 16
    overflow = max(0.0, lowest - 16 - (HEIGHT - _BOTTOM)) if placed else 0.0
    return [(v - overflow, style, name) for v, style, name in placed]


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")
