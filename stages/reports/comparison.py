"""metrics/comparison_report.md: the verdict first, then the numbers, then what differs."""

from typing import Any

from stages.contracts.comparison import Comparison, MetricComparison

HEADLINE = {"adopt": "ADOPT", "keep": "KEEP the baseline", "undecided": "UNDECIDED"}
PERCENT = frozenset({"passed", "face_found"})
POINTS = frozenset({"likeness", "second_likeness", "prior_preservation"})


def render_comparison(comparison: Comparison) -> str:
    """The report as Markdown."""
    if comparison.baseline is None:
        return _render_alone(comparison)
    base, cand = comparison.baseline, comparison.candidate
    lines = [
        f"# {cand.name} against {base.name}: {HEADLINE[comparison.recommendation.action]}",
        "", comparison.recommendation.reason, "",
        f"Overall: {base.name} {base.overall_score:.3f} ({base.overall_grade}), "
        f"{cand.name} {cand.overall_score:.3f} ({cand.overall_grade}); plain values, not tested.",
        "", "## Metrics", "", *_metric_table(comparison), "", *_notes(comparison), "",
        "## Best settings", "", *_settings_table(comparison), "",
        "## What differs in configuration", "", *_differences_table(comparison), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _render_alone(comparison: Comparison) -> str:
    cand = comparison.candidate
    rows = [[m.metric, _value(m, m.candidate)] for m in comparison.metrics]
    lines = [
        f"# {cand.name}: no baseline", "", "There is no baseline to compare with (`compare.baseline: none`).", "",
        f"Make this version the yardstick: `pistachio promote {cand.name}`, commit what it wrote, and set "
        f"`compare.baseline: {cand.name}` for the next one.", "",
        f"Overall: {cand.overall_score:.3f} ({cand.overall_grade}); {comparison.images} pictures of "
        f"{comparison.prompts} prompts.", "", *_table(["metric", cand.name], rows), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _metric_table(comparison: Comparison) -> list[str]:
    assert comparison.baseline is not None
    percent = f"{100 * comparison.confidence:g}%"
    head = ["metric", comparison.baseline.name, comparison.candidate.name, "difference", f"{percent} interval",
            "p (Holm)", "detectable", "verdict"]  # fmt: skip
    rows = [
        [
            m.metric + (" (guarded)" if m.guarded else ""), _value(m, m.baseline), _value(m, m.candidate),
            _value(m, m.delta, "+"), _interval(m),
            "-" if m.p_adjusted is None else f"{m.p_adjusted:.3f}", _value(m, m.detectable), f"**{m.verdict}**",
        ]
        for m in comparison.metrics
    ]  # fmt: skip
    return _table(head, rows)


def _notes(comparison: Comparison) -> list[str]:
    """What a reader must know to believe the table."""
    lines = [
        f"{comparison.images} pairs of pictures (same prompt, seed and starting noise) over {comparison.prompts} "
        "prompts; the prompts are resampled whole. `detectable`: the smallest true difference that this many pictures "
        "would show 80 times in 100, before the correction for the number of metrics.",
    ]
    margins = ", ".join(f"{m.metric} {_value(m, m.margin)}" for m in comparison.metrics if m.margin)
    if margins:
        lines += ["", f"EQUIVALENT: the whole interval lies within the margin ({margins})."]
    more = ", ".join(f"{m.metric} about {m.more_images}" for m in comparison.metrics if m.more_images)
    if more:
        lines += ["", f"More pictures that would settle what is INCONCLUSIVE, on new prompts: {more}."]
    still = [m.metric for m in comparison.metrics if m.delta == 0 and m.detectable is None]
    if still:
        rare = 100 * 3 / comparison.images
        seen = f"a difference in fewer than about {rare:.0f}% of all pictures would not have shown (rule of three)"
        lines += ["", f"No pair differs in {', '.join(still)}: {seen}."]
    rough = [m.metric for m in comparison.metrics if m.method == "percentile" and m.metric not in still]
    if rough:
        lines += ["", f"Too few prompts differ in {', '.join(rough)} to studentize: percentile interval."]
    copying = [m.metric for m in comparison.metrics if m.metric in POINTS and m.candidate > 100]
    if copying:
        closer = "closer to the references than real photos are; look for copying"
        lines += ["", f"{', '.join(copying)} above 100: {closer}."]
    return lines


def _settings_table(comparison: Comparison) -> list[str]:
    assert comparison.baseline is not None
    before = comparison.baseline.best_config.model_dump()
    after = comparison.candidate.best_config.model_dump()
    rows = [[key, _plain(before[key]), _plain(after[key])] for key in before]
    return _table(["setting", comparison.baseline.name, comparison.candidate.name], rows)


def _differences_table(comparison: Comparison) -> list[str]:
    assert comparison.baseline is not None
    if not comparison.config_differences:
        return ["Nothing."]
    rows = [[d.key, _plain(d.baseline), _plain(d.candidate)] for d in comparison.config_differences]
    return _table(["key", comparison.baseline.name, comparison.candidate.name], rows)


def _value(metric: MetricComparison, value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    if metric.metric in PERCENT:
        return f"{100 * value:{sign}.1f}%"
    return f"{value:{sign}.1f}" if metric.metric in POINTS else f"{value:{sign}.3f}"


def _interval(metric: MetricComparison) -> str:
    if metric.interval is None:
        return "-"
    return f"{_value(metric, metric.interval.low, '+')} .. {_value(metric, metric.interval.high, '+')}"


def _plain(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
