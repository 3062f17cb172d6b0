"""The curves of the page: training, and what each checkpoint is worth."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stages.contracts.scorecard import Cell
from stages.reports.page.charts import Line, Mark, Point, draw_curves, thin_out
from stages.reports.page.content import Content, Row
from stages.reports.page.words import name_of, show_interval, show_number

LOSSES = ("loss", "holdout_loss", "prior_loss")
SETTING = ("base", "mode", "guidance", "sampler", "strength")
NO_MEASURES = frozenset({"checkpoint", "step", "cell", "images", "prompts", "seeds", "recommended", *SETTING})
FROM_SWEEP = ("similarity_mean", "second_similarity_mean", "adherence_mean")


@dataclass(frozen=True)
class Chart:
    """One chart with its legend, and the same in figures."""

    title: str
    legend: Sequence[tuple[int, str]]  # style, name; empty for one curve
    drawing: Markup
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def loss_chart(content: Content) -> Chart | None:
    """Loss on training, holdout and regularization images by step; None where nothing was measured."""
    measured = [(name, _points(content.loss, "step", name)) for name in LOSSES]
    kept = [(style, name, thin_out(points)) for style, (name, points) in enumerate(measured) if points]
    lines = [Line(name_of(name), points, style, dots=False) for style, name, points in kept]
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
        _table(lines),
    )  # fmt: skip


def checkpoint_charts(content: Content) -> tuple[list[Chart], str]:
    """What each checkpoint is worth, a chart per measure, and a sentence on where the intervals come from.

    From checkpoints.csv: every column that holds numbers, with its interval where the table has ``X_low`` and
    ``X_high`` beside ``X``.  Without that table from the sweep's cells with the chosen settings.
    """
    best = content.card.best_config
    rows, measures, note = list(content.checkpoints), _measures(content.checkpoints), ""
    if not measures:
        rows = [_with_interval(row) for row in content.sweep if _is_setting(row, best)]
        measures = [name for name in FROM_SWEEP if any(row.get(name) is not None for row in rows)]
        note = (
            "Cells of the sweep that differ from the chosen one in the checkpoint alone. Whiskers: 95% of the mean of "
            "the cell's pictures, as if they were independent; pictures of one prompt are not, so the truth is wider."
        )
    marks = _marks(content.checkpoints, best)
    charts = [_checkpoint_chart(name, _points(rows, "checkpoint", name), marks) for name in measures]
    return [chart for chart in charts if chart], note


def _measures(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    names = [name for name in rows[0] if name not in NO_MEASURES and not name.endswith(("_low", "_high", "_sd"))]
    return [name for name in names if any(isinstance(row.get(name), float) for row in rows)]


def _marks(rows: Iterable[Row], best: Cell) -> list[Mark]:
    recommended = [row["checkpoint"] for row in rows if row.get("recommended") in (1, "true", "True")]
    if recommended and recommended[0] == best.checkpoint:
        return [Mark(best.checkpoint, f"recommended and used: {best.checkpoint}")]
    advised = [Mark(step, f"recommended: {step:g}") for step in recommended[:1]]
    return [*advised, Mark(best.checkpoint, f"used: {best.checkpoint}")]


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
    return Chart(name_of(name), [], drawing, ["step", "value", "95% interval"], rows)


def _points(rows: Iterable[Row], x: str, y: str) -> list[Point]:
    """The rows that hold both numbers, sorted by x."""
    pairs = [(row, row.get(x), row.get(y)) for row in rows]
    points = [
        Point(a, b, _number(row.get(f"{y}_low")), _number(row.get(f"{y}_high")))
        for row, a, b in pairs
        if isinstance(a, float) and isinstance(b, float)
    ]
    return sorted(points, key=lambda point: point.x)


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _is_setting(row: Row, best: Cell) -> bool:
    return all(row.get(name) == getattr(best, name) for name in SETTING)


def _with_interval(row: Row) -> Row:
    from scipy.stats import t

    mean, sd, count = (_number(row.get(name)) for name in ("similarity_mean", "similarity_sd", "images"))
    if mean is None or sd is None or count is None or count < 2:
        return row
    half = float(t.ppf(0.975, count - 1)) * sd / math.sqrt(count)
    return {**row, "similarity_mean_low": mean - half, "similarity_mean_high": mean + half}


def _table(lines: Sequence[Line]) -> list[list[str]]:
    steps = sorted({point.x for line in lines for point in line.points})
    values = [{point.x: f"{point.y:.4f}" for point in line.points} for line in lines]
    return [[f"{step:g}", *(value.get(step, "") for value in values)] for step in steps]
