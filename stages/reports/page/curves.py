"""The curves of the page: training, and what each checkpoint is worth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stages.reports.page.charts import Line, Mark, Point, draw_curves, thin_out
from stages.reports.page.content import Content, Row, interval_of
from stages.reports.page.words import name_of, show_interval, show_number

LOSSES = {"loss": "training photos", "holdout_loss": "holdout photos", "prior_loss": "regularization images"}
NO_MEASURES = frozenset(
    {"checkpoint", "images", "guidance", "strength", "recommended", "overfits", "pass_rate", "detection_rate"}
)


@dataclass(frozen=True)
class Chart:
    """One chart with its legend, and the same in figures."""

    title: str
    legend: Sequence[tuple[int, str]]  # style, name; empty for one curve
    drawing: Markup
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: int  # rows of text above the drawing


def loss_chart(content: Content) -> Chart | None:
    """Loss on training, holdout and regularization images by step; None where nothing was measured."""
    measured = [(name, _points(content.loss, "step", name)) for name in LOSSES]
    kept = [(style, name, thin_out(points)) for style, (name, points) in enumerate(measured) if points]
    lines = [Line(LOSSES[name], points, style, dots=False) for style, name, points in kept]
    if not lines:
        return None
    held = dict(measured)["holdout_loss"]
    lowest = min(held, key=lambda point: (point.y, point.x)) if held else None
    marks = [Mark(lowest.x, f"lowest holdout loss at step {lowest.x:g}")] if lowest else []
    said = f"; {marks[0].text}" if marks else ""
    says = f"Loss by training step, {', '.join(line.name for line in lines)}{said}"
    return Chart(
        "Loss by training step", [(line.style, line.name) for line in lines],
        draw_curves(lines, marks, "training step", says), ["step", *(line.name for line in lines)],
        _table(lines), len(marks),
    )  # fmt: skip


def checkpoint_charts(content: Content) -> list[Chart]:
    """What each checkpoint is worth: a chart of every mean and loss in checkpoints.csv."""
    marks = _marks(content)
    names = [name for name in (content.checkpoints[0] if content.checkpoints else ()) if _is_measure(name)]
    charts = [_checkpoint_chart(name, _points(content.checkpoints, "checkpoint", name), marks) for name in names]
    return [chart for chart in charts if chart]


def _is_measure(name: str) -> bool:
    return name not in NO_MEASURES and not name.endswith(("_low", "_high", "_sd"))


def _marks(content: Content) -> list[Mark]:
    """Where the training overfits from, which checkpoint is recommended, and which one was judged."""
    used = content.card.best_config.checkpoint
    recommended = [row["checkpoint"] for row in content.checkpoints if row.get("recommended")][:1]
    marks = [Mark(step, f"recommended: {step:g}") for step in recommended if step != used]
    marks.append(Mark(used, f"recommended and used: {used}" if used in recommended else f"used: {used}"))
    if content.choice and content.choice.overfits_from is not None:
        step = content.choice.overfits_from
        if step not in [mark.x for mark in marks]:
            return [*marks, Mark(step, f"overfits from step {step}")]
        return [Mark(m.x, f"{m.text}, overfits from here" if m.x == step else m.text) for m in marks]
    return marks


def _checkpoint_chart(name: str, points: list[Point], marks: Sequence[Mark]) -> Chart | None:
    if not points:
        return None
    first, last = points[0], points[-1]
    says = (
        f"{name_of(name)} by checkpoint: {show_number(name, first.y)} at step {first.x:g}, "
        f"{show_number(name, last.y)} at step {last.x:g}; {', '.join(mark.text for mark in marks)}"
    )
    line = Line(name_of(name), points)
    inside = [mark for mark in marks if first.x <= mark.x <= last.x]
    drawing = draw_curves([line], inside, "training step", says)
    rows = [[f"{p.x:g}", show_number(name, p.y), show_interval(name, p.low, p.high)] for p in points]
    return Chart(name_of(name), [], drawing, ["step", "value", "95% interval"], rows, len(inside))


def _points(rows: Iterable[Row], x: str, y: str) -> list[Point]:
    """The rows that hold both numbers, sorted by x."""
    pairs = [(row, row.get(x), row.get(y)) for row in rows]
    points = [
        Point(a, b, *(interval_of(row, y) or (None, None)))
        for row, a, b in pairs
        if isinstance(a, float) and isinstance(b, float)
    ]
    return sorted(points, key=lambda point: point.x)


def _table(lines: Sequence[Line]) -> list[list[str]]:
    steps = sorted({point.x for line in lines for point in line.points})
    values = [{point.x: f"{point.y:.4f}" for point in line.points} for line in lines]
    return [[f"{step:g}", *(value.get(step, "") for value in values)] for step in steps]
