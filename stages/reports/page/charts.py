"""Charts as SVG: places in percent, so that a chart fits any width while its text and dots keep their size.

Colours come from the page's style sheet by class; every chart has a text that says the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

DOT = 4.5  # px, radius
STEADY = 0.04  # of the largest value: a chart never shows less than this


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element; children and attributes are escaped unless they are markup.  ``class_`` is class, ``x_y`` is x-y."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items() if value != ""
    )
    return Markup(f"<{name}{said}>{''.join(map(escape, children))}</{name}>")


@dataclass(frozen=True)
class Scale:
    """Numbers to places along one side of a chart, 0..100 percent."""

    low: float
    high: float
    flipped: bool = False  # up is more

    def place(self, value: float) -> float:
        """Where ``value`` lies, kept inside the chart."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        share = min(max(share, 0.0), 1.0)
        return round(100 * (1 - share if self.flipped else share), 2)

    def percent(self, value: float) -> str:
        """The same as an attribute."""
        return f"{self.place(value):g}%"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """At most ``count`` + 1 round numbers that lie inside the range."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(round(tick, 12)) + 0.0 for tick in found if low <= tick <= high]


def draw_bar(value: float, low: float, high: float, scale: Scale, kind: str, says: str) -> Markup:
    """One judge on the likeness ruler: interval and dot on a track from 0 to 100, and what lies beyond."""
    zero, full = scale.percent(0), scale.percent(100)
    return tag(
        "svg", tag("title", says),
        tag("line", x1="0", x2="100%", y1="50%", y2="50%", class_="beyond"),
        tag("line", x1=zero, x2=full, y1="50%", y2="50%", class_="track"),
        *(tag("line", x1=end, x2=end, y1="15%", y2="85%", class_="end") for end in (zero, full)),
        tag("line", x1=scale.percent(low), x2=scale.percent(high), y1="50%", y2="50%", class_=f"interval {kind}"),
        tag("circle", cx=scale.percent(value), cy="50%", r=7, class_=f"dot {kind}"),
        class_="bar", role="img", aria_label=says,
    )  # fmt: skip


def draw_whisker(
    value: float, low: float, high: float, scale: Scale, band: float | None, kind: str, says: str
) -> Markup:
    """A difference with its interval; zero is the line, the shade is what does not matter, arrows are cut ends."""
    parts, left, right = [tag("title", says)], scale.percent(low), scale.percent(high)
    if band is not None:
        start, end = scale.place(-band), scale.place(band)
        parts.append(tag("rect", x=f"{start:g}%", width=f"{end - start:g}%", y="0", height="100%", class_="band"))
    parts.append(tag("line", x1=scale.percent(0), x2=scale.percent(0), y1="0", y2="100%", class_="zero"))
    parts.append(tag("line", x1=left, x2=right, y1="50%", y2="50%", class_=f"whisker {kind}"))
    for end, place in ((low, left), (high, right)):
        if scale.low <= end <= scale.high:
            parts.append(tag("line", x1=place, x2=place, y1="30%", y2="70%", class_=f"whisker {kind}"))
        else:
            shape = "M-8 -6 L2 0 L-8 6z" if end > scale.high else "M8 -6 L-2 0 L8 6z"
            parts.append(tag("svg", tag("path", d=shape, class_=f"cut {kind}"), x=place, y="50%"))
    if scale.low <= value <= scale.high:
        parts.append(tag("circle", cx=scale.percent(value), cy="50%", r=DOT, class_=f"dot {kind}"))
    return tag("svg", *parts, class_="forest", role="img", aria_label=says)


def draw_strip(genuine: Sequence[float], impostor: Sequence[float], threshold: float, says: str) -> Markup:
    """Two groups of cosines as strokes over one axis, -1..1 as far as they reach, with a threshold between them."""
    every = [*genuine, *impostor, threshold, 0.0]
    scale = Scale(min(every) - 0.03, max(every) + 0.03)
    parts = [tag("title", says), tag("line", x1="0", x2="100%", y1="50%", y2="50%", class_="track")]
    for values, top, bottom, kind in ((genuine, "8%", "44%", "first"), (impostor, "56%", "92%", "other")):
        for place in sorted({scale.percent(value) for value in values}):
            parts.append(tag("line", x1=place, x2=place, y1=top, y2=bottom, class_=f"stroke {kind}"))
    at = scale.percent(threshold)
    parts.append(tag("line", x1=at, x2=at, y1="0", y2="100%", class_="limit"))
    return tag("svg", *parts, class_="strip", role="img", aria_label=says)


@dataclass(frozen=True)
class Point:
    """A measured value, with an interval where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """One curve; ``style`` 0, 1, 2 are different in colour and dashes."""

    name: str
    points: Sequence[Point]
    style: int = 0
    dots: bool = True


@dataclass(frozen=True)
class Mark:
    """Something to point at on the x axis."""

    x: float
    text: str


def draw_curves(lines: Sequence[Line], marks: Sequence[Mark], x_name: str, says: str) -> Markup:
    """Curves over one x axis, with whiskers where points have intervals; at least one point is needed."""
    points = [point for line in lines for point in line.points]
    x = Scale(min(point.x for point in points), max(point.x for point in points))
    y = _upright([y for point in points for y in (point.y, point.low, point.high) if y is not None])
    parts = [tag("title", says)]
    at = ticks(y.low, y.high)
    digits = next(digits for digits in range(13) if all(round(tick, digits) == tick for tick in at))
    for tick in at:
        parts.append(tag("line", x1="0", x2="100%", y1=y.percent(tick), y2=y.percent(tick), class_="grid"))
        label = f"{tick:.{digits}f}".replace("-", "−")
        parts.append(tag("text", label, x="0", dx="-8", y=y.percent(tick), dy="0.32em", text_anchor="end"))
    for tick in ticks(x.low, x.high):
        parts.append(tag("text", f"{tick:g}", x=x.percent(tick), y="100%", dy="1.6em", text_anchor="middle"))
    parts.append(tag("text", x_name, x="100%", y="100%", dy="3em", text_anchor="end", class_="axis"))
    for number, mark in enumerate(marks):
        parts += _draw_mark(mark, x, number)
    for line in lines:
        parts += _draw_line(line, x, y)
    return tag("svg", *parts, class_="curves", role="img", aria_label=says)


def _upright(ys: Sequence[float]) -> Scale:
    """A scale with room around the values; differences of a few hundredths of a value must not look like cliffs."""
    low, high = min(ys), max(ys)
    room = max(0.06 * (high - low), (STEADY * max(abs(low), abs(high)) - (high - low)) / 2) or 0.5
    return Scale(low - room, high + room, flipped=True)


def _draw_mark(mark: Mark, x: Scale, number: int) -> list[Markup]:
    """A line through the chart with its text above, a row of text for each mark."""
    place, at = x.percent(mark.x), x.place(mark.x)
    anchor = "start" if at < 25 else "end" if at > 75 else "middle"  # inside the chart on a phone, too
    return [
        tag("line", x1=place, x2=place, y1="0", y2="100%", class_="mark"),
        tag("text", mark.text, x=place, y="0", dy=f"{-0.5 - 1.2 * number:g}em", text_anchor=anchor, class_="marked"),
    ]


def _draw_line(line: Line, x: Scale, y: Scale) -> list[Markup]:
    kind = f"s{line.style}"
    places = [(x.percent(point.x), y.percent(point.y)) for point in line.points]
    parts = [tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"curve {kind}") for (x1, y1), (x2, y2) in pairwise(places)]
    for point, (cx, cy) in zip(line.points, places, strict=True):
        if point.low is not None and point.high is not None:
            ends = {"y1": y.percent(point.low), "y2": y.percent(point.high)}
            parts.append(tag("line", x1=cx, x2=cx, **ends, class_=f"whisker {kind}"))
        if line.dots or len(line.points) == 1:
            parts.append(tag("circle", cx=cx, cy=cy, r=DOT - 1, class_=f"dot {kind}"))
    return parts


def thin_out(points: Sequence[Point], most: int = 300) -> list[Point]:
    """At most ``most`` points: means of equally many neighbours, at their middle x."""
    each = math.ceil(len(points) / most)
    if each <= 1:
        return list(points)
    groups = [points[i : i + each] for i in range(0, len(points), each)]
    return [Point(sum(p.x for p in some) / len(some), sum(p.y for p in some) / len(some)) for some in groups]
