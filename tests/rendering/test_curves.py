import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from capriccio.errors import UsageError
from capriccio.rendering.curves import HEIGHT, WIDTH, Curve, Plot, plot_svg, tick_step, ticks


def drawn(*curves, **labels):
    settings = {"x_label": "kimg", "y_label": "loss", **labels}
    return ElementTree.fromstring(plot_svg(Plot(curves=curves, **settings)))


def coordinates(line):
    return [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]


def test_a_rising_line_rises_and_stays_inside_the_drawing():
    points = coordinates(drawn(Curve(name="a", points=[(0, 1), (1, 2), (4, 10)])).find("polyline"))
    xs, ys = zip(*points, strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)  # SVG counts y downwards
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert (xs[1] - xs[0]) * 4 == pytest.approx(xs[2] - xs[0], abs=1)


def test_values_that_are_not_finite_leave_a_gap():
    points = [(0, 1), (1, 2), (2, math.nan), (3, 2), (4, 1), (5, math.inf), (6, 1)]
    root = drawn(Curve(name="a", points=points))
    assert [len(coordinates(line)) for line in root.findall("polyline")] == [2, 2]
    assert len(root.findall("circle")) == 1


def test_a_plot_without_any_finite_point_is_refused():
    with pytest.raises(UsageError, match="no finite point"):
        Plot(curves=[Curve(name="a", points=[(0, math.nan)])], x_label="x", y_label="y")


@pytest.mark.parametrize("points", [[(0, 0)], [(3, 5), (4, 5)], [(0, 1e-300), (1, 2e-300)], [(0, 1e300), (1, -1e300)]])
def test_degenerate_ranges_are_drawn_without_a_crash(points):
    text = plot_svg(Plot(curves=[Curve(name="a", points=points)], x_label="x", y_label="y"))
    assert not re.search(r"nan|inf", text)


def test_long_runs_are_thinned_and_keep_their_end():
    points = [(i, i % 7) for i in range(100_000)] + [(100_000, 3)]
    line = coordinates(drawn(Curve(name="a", points=points)).find("polyline"))
    assert len(line) < 1000
    assert line[-1][0] == pytest.approx(WIDTH - 136, abs=0.1)


def test_names_at_line_ends_do_not_cover_each_other():
    root = drawn(*[Curve(name=f"curve {i}", points=[(0, 0), (1, i / 1000)]) for i in range(8)])
    heights = sorted(float(t.get("y")) for t in root.findall("text") if t.get("class").startswith("name"))
    assert len(heights) == 8
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 15.9


def test_lines_differ_by_more_than_colour():
    root = drawn(*[Curve(name=str(i), points=[(0, 0), (1, i)]) for i in range(3)])
    assert [line.get("class") for line in root.findall("polyline")] == ["series-0", "series-1", "series-2"]


def test_texts_are_escaped():
    root = drawn(Curve(name="<b>&", points=[(0, 0), (1, 1)]), x_label="<script>", caption='"><script>')
    assert root.find(".//script") is None
    assert root.get("aria-label") == '"><script>'


@pytest.mark.parametrize(("low", "high", "step"), [(0, 10, 2), (0.3, 2.9, 0.5), (-1, 1, 0.5), (0, 50_000, 10_000)])
def test_ticks_are_round_numbers_inside_the_range(low, high, step):
    assert tick_step(low, high, 5) == pytest.approx(step)
    marks = ticks(low, high, step)
    assert all(low - 1e-9 <= mark <= high + 1e-9 for mark in marks)
    assert len(marks) >= 4
