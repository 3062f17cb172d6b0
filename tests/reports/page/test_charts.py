"""Drawings: where values lie on them, and that what is cut off says so."""

import re
from itertools import pairwise

import pytest

from stages.reports.page.charts import (
    Line,
    Mark,
    Point,
    Scale,
    draw_bar,
    draw_curves,
    draw_strip,
    draw_whisker,
    tag,
    thin_out,
    ticks,
)


def places(drawing: str, element: str, attribute: str, kind: str) -> list[float]:
    """The percentages of ``attribute`` in the elements of one kind, in order."""
    found = re.findall(rf"<{element} [^>]*>", drawing)
    own = [one for one in found if re.search(rf'class="[^"]*\b{kind}\b', one)]
    return [float(match[1]) for one in own if (match := re.search(rf'{attribute}="([\d.]+)%"', one))]


def test_a_scale_puts_its_ends_at_the_edges_and_nothing_outside() -> None:
    scale = Scale(-10, 110)
    assert [scale.place(x) for x in (-10, 50, 110, 500, -500)] == [0, 50, 100, 100, 0]
    assert Scale(0, 10, flipped=True).place(2.5) == 75
    assert Scale(3, 3).place(3) == 50


def test_text_in_a_drawing_is_escaped() -> None:
    assert tag("text", "<b>&", class_='"') == '<text class="&#34;">&lt;b&gt;&amp;</text>'


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.5898, 0.6012), (-3.2, 118), (0, 3000), (1e-5, 4e-5)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 6
    assert all(low <= tick <= high for tick in found)
    steps = {f"{b - a:.1e}" for a, b in pairwise(found)}
    assert len(steps) == 1
    assert steps.pop()[:3] in ("1.0", "2.0", "2.5", "5.0")


def test_the_ruler_shows_value_interval_and_both_ends() -> None:
    bar = draw_bar(50, 40, 60, Scale(-50, 150), "first", "Face pack: 50")
    assert places(bar, "circle", "cx", "dot") == [50]
    assert places(bar, "line", "x1", "interval") + places(bar, "line", "x2", "interval") == [45, 55]
    assert places(bar, "line", "x1", "end") == [25, 75]
    assert 'aria-label="Face pack: 50"' in bar


def test_a_whisker_shows_zero_the_margin_and_the_interval() -> None:
    drawing = draw_whisker(0.05, -0.05, 0.10, Scale(-0.2, 0.2), 0.1, "improved", "x")
    assert places(drawing, "circle", "cx", "dot") == [62.5]
    assert places(drawing, "line", "x1", "whisker")[0] == 37.5
    assert places(drawing, "line", "x2", "whisker")[0] == 75
    assert places(drawing, "rect", "x", "band") == [25]
    assert "<path" not in drawing


def test_an_interval_that_leaves_the_drawing_ends_in_an_arrow_on_its_side() -> None:
    drawing = draw_whisker(9, -5, 10, Scale(-2, 2), None, "improved", "x")
    arrows = re.findall(r'<svg x="(\d+)%" y="50%"><path d="(M-?8)', drawing)
    assert arrows == [("0", "M8"), ("100", "M-8")]
    assert "<circle" not in drawing
    assert "band" not in drawing


def test_curves_have_a_dot_and_a_whisker_per_point_and_the_mark_in_its_place() -> None:
    points = [Point(0, 10, 9, 11), Point(50, 20, 18, 22), Point(100, 15)]
    drawing = draw_curves([Line("likeness", points)], [Mark(50, "used: 50")], "step", "says")
    assert places(drawing, "circle", "cx", "dot") == [0, 50, 100]
    assert places(drawing, "line", "x1", "whisker") == [0, 50]
    assert len(places(drawing, "line", "x1", "curve")) == 2
    assert places(drawing, "line", "x1", "mark") == [50]
    heights = places(drawing, "circle", "cy", "dot")
    assert heights[1] < heights[2] < heights[0]  # up is more


def test_one_point_and_equal_values_can_be_drawn() -> None:
    assert places(draw_curves([Line("x", [Point(100, 0.0)])], [], "step", "x"), "circle", "cx", "dot") == [50]
    assert "nan" not in draw_curves([Line("x", [Point(1, 2), Point(2, 2)])], [], "step", "x")


def test_tick_labels_differ_however_small_the_range() -> None:
    drawing = draw_curves([Line("x", [Point(1, 0.00401), Point(2, 0.00402)])], [], "step", "x")
    labels = re.findall(r'text-anchor="end">([^<]*)<', drawing)
    assert len(labels) == len(set(labels))


def test_a_long_curve_is_thinned_to_means_that_keep_its_level() -> None:
    points = [Point(float(i), float(i % 2)) for i in range(10_000)]
    thin = thin_out(points)
    assert len(thin) <= 300
    assert all(0.4 < point.y < 0.6 for point in thin)
    assert thin_out(points[:300]) == points[:300]


def test_a_thinned_curve_has_the_means_of_its_neighbours_in_the_middle_of_them() -> None:
    points = [Point(float(i * i), 10.0 * i) for i in range(7)]
    assert thin_out(points, most=3) == [Point(5 / 3, 10.0), Point((9 + 16 + 25) / 3, 40.0), Point(36.0, 60.0)]


def test_a_strip_has_the_person_above_the_others_below_and_the_threshold_through_both() -> None:
    strip = draw_strip([0.57, 0.97, 0.97], [-0.03], 0.47, "says")  # the axis goes from -0.06 to 1.00
    scale = Scale(-0.06, 1.0)
    assert places(strip, "line", "x1", "first") == [scale.place(0.57), scale.place(0.97)]
    assert places(strip, "line", "x1", "other") == [scale.place(-0.03)]
    assert places(strip, "line", "x1", "limit") == [scale.place(0.47)]
    own, others = (places(strip, "line", "y2", kind)[0] for kind in ("first", "other"))
    assert own < 50 < others


def test_a_band_reaches_as_far_as_the_margin_on_both_sides_and_zero_has_its_line() -> None:
    drawing = draw_whisker(0.05, -0.05, 0.10, Scale(-0.2, 0.3), 0.1, "improved", "x")
    assert places(drawing, "rect", "x", "band") == [20]
    assert places(drawing, "rect", "width", "band") == [40]
    assert places(drawing, "line", "x1", "zero") == [40]


def test_every_curve_keeps_its_style_and_a_curve_without_dots_has_none() -> None:
    lines = [Line("a", [Point(0, 1), Point(4, 2)], 1, dots=False), Line("b", [Point(0, 2), Point(2, 3)], 2)]
    drawing = draw_curves(lines, [], "step", "x")
    assert places(drawing, "line", "x2", "s1") == [100]
    assert places(drawing, "line", "x2", "s2") == [50]
    assert places(drawing, "circle", "cx", "dot") == [0, 50]


def test_marks_stand_above_each_other_and_inside_the_chart() -> None:
    points = [Point(float(x), 1.0) for x in (0, 100)]
    drawing = draw_curves([Line("x", points)], [Mark(10, "a"), Mark(50, "b"), Mark(90, "c")], "step", "says")
    found = re.findall(r'x="(\d+)%" y="0" dy="(-[\d.]+)em" text-anchor="(\w+)"', drawing)
    assert found == [("10", "-0.5", "start"), ("50", "-1.7", "middle"), ("90", "-2.9", "end")]
