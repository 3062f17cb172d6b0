"""metrics/comparison_report.md: the verdict first, then the numbers, then what differs."""

from typing import Any

from stages.contracts.comparison import Comparison, MetricComparison
from stages.contracts.scorecard import Interval

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
        "", comparison.recommendation.reason, "", *_origins(comparison),
        f"Overall: {base.name} {base.overall_score:.3f} ({base.overall_grade}), "
        f"{cand.name} {cand.overall_score:.3f} ({cand.overall_grade}); plain values, not tested.",
        "", "## Metrics", "", *_metric_table(comparison), "", *_notes(comparison), "",
        "## Recipes", "", *_recipes(comparison), "",
        "## Best settings", "", *_settings_table(comparison), "",
        "## What differs in configuration", "", *_differences_table(comparison), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _render_alone(comparison: Comparison) -> str:
    cand = comparison.candidate
    rows = [[m.metric, show_value(m, m.candidate)] for m in comparison.metrics]
    lines = [
        f"# {cand.name}: no baseline", "", "There is no baseline to compare with (`compare.baseline: none`).", "",
        *_origins(comparison),
        f"Make this version the yardstick: `pistachio promote {cand.name}`, commit what it wrote, and set "
        f"`compare.baseline: {cand.name}` for the next one.", "",
        f"Overall: {cand.overall_score:.3f} ({cand.overall_grade}); {comparison.images} pictures of "
        f"{comparison.prompts} prompts.", "", *_table(["metric", cand.name], rows), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _origins(comparison: Comparison) -> list[str]:
    """Which of the versions were trained on photos that nobody here knows, and what that does to the figures."""
    versions = [v for v in (comparison.baseline, comparison.candidate) if v is not None and v.lora_dataset]
    return [line for v in versions for line in (
        f"What {v.name} was trained on: {v.lora_dataset}. The holdout photos may be among its training photos, so its "
        "likeness may flatter.", ""
    )]  # fmt: skip


def _metric_table(comparison: Comparison) -> list[str]:
    assert comparison.baseline is not None
    percent = f"{100 * comparison.confidence:g}%"
    head = ["metric", comparison.baseline.name, comparison.candidate.name, "difference", f"{percent} interval",
            "p (Holm)", "detectable", "verdict"]  # fmt: skip
    rows = [
        [
            m.metric + (" (guarded)" if m.guarded else ""), show_value(m, m.baseline), show_value(m, m.candidate),
            show_value(m, m.delta, "+"), show_interval(m),
            "-" if m.p_adjusted is None else f"{m.p_adjusted:.3f}", show_value(m, m.detectable), f"**{m.verdict}**",
        ]
        for m in comparison.metrics
    ]  # fmt: skip
    return _table(head, rows)


def _recipes(comparison: Comparison) -> list[str]:
    """Whether the recipes differ, not only these two LoRAs of theirs."""
    assert comparison.baseline is not None
    base, cand = comparison.baseline, comparison.candidate
    rows = [
        [m.metric, show_value(m, m.recipe.delta, "+"), show_interval(m, m.recipe.interval),
         show_value(m, m.recipe.spread), f"{m.recipe.p_adjusted:.3f}", show_value(m, m.recipe.detectable),
         f"**{m.recipe.verdict}**"]
        for m in comparison.metrics if m.recipe
    ]  # fmt: skip
    if not rows:
        return [
            "The verdicts above are of these two LoRAs. Each recipe was trained with one seed, and another seed gives "
            "another LoRA: `pistachio replicate NAME` trains a promoted version again and tells how much of a "
            "difference is luck."
        ]
    head = ["metric", "difference", f"{100 * comparison.confidence:g}% interval", "spread between trainings",
            "p (Holm)", "detectable", "verdict"]  # fmt: skip
    trained = f"Trainings: {base.name} {base.trainings}, {cand.name} {cand.trainings}."
    return [f"{trained} Prompts and training seeds are both samples here.", "", *_table(head, rows)]


def _notes(comparison: Comparison) -> list[str]:
    """What a reader must know to believe the table."""
    lines = [
        f"{comparison.images} pairs of pictures (same prompt, seed and starting noise) over {comparison.prompts} "
        "prompts; the prompts are resampled whole. `detectable`: the smallest true difference that this many pictures "
        "would show 80 times in 100, the correction for the number of metrics paid.",
    ]
    margins = ", ".join(f"{m.metric} {show_value(m, m.margin)}" for m in comparison.metrics if m.margin)
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
    rough = [m.metric for m in comparison.metrics if m.method == "pseudo-prompts" and m.metric not in still]
    if rough:
        lines += ["", f"Yes or no, or rare: {', '.join(rough)} got one more prompt in favour of either version."]
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


def show_value(metric: MetricComparison, value: float | None, sign: str = "") -> str:
    """A value in the metric's own unit; a dash where there is none."""
    if value is None:
        return "-"
    if metric.metric in PERCENT:
        return f"{100 * value:{sign}.1f}%"
    return f"{value:{sign}.1f}" if metric.metric in POINTS else f"{value:{sign}.3f}"


def show_interval(metric: MetricComparison, interval: Interval | None = None) -> str:
    """The interval of the difference, or another one of this metric."""
    interval = interval or metric.interval
    if interval is None:
        return "-"
    return f"{show_value(metric, interval.low, '+')} .. {show_value(metric, interval.high, '+')}"


def _plain(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
