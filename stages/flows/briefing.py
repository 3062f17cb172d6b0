"""Gather what a run's artifacts warn of: the comparison, the scorecard and the manifest."""

from pathlib import Path

from stages.contracts.briefing import Briefing, Finding
from stages.contracts.comparison import Comparison, MetricComparison, read_comparison
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import COMPARISON, MANIFEST, SCORECARD
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.runtime.errors import UserError


def read_briefing(root: Path = Path()) -> Briefing:
    """The findings of the run whose artifacts lie in ``root``, regressions first.

    Raises:
        UserError: without a scorecard, or when scorecard and comparison are of different runs.
    """
    card = read_scorecard(root / SCORECARD)
    findings: list[Finding] = []
    if (root / COMPARISON).is_file():
        comparison = read_comparison(root / COMPARISON)
        if comparison.candidate.run_id != card.run_id:
            what = f"is of run {comparison.candidate.run_id}, the scorecard of {card.run_id}"
            raise UserError(COMPARISON, what, "run `dvc repro compare`")
        findings += _of_comparison(comparison)
    findings += _of_scorecard(card)
    if (root / MANIFEST).is_file():
        summary = read_manifest(root / MANIFEST).summary
        findings += [Finding("warning", line, line, f"Photos: {line}") for line in summary.warnings]
        findings += [Finding("advice", line, line, f"Photos: {line}") for line in summary.advice]
    return Briefing(card.run_id, card.lora_version, tuple({found.key: found for found in findings}.values()))


def _of_comparison(comparison: Comparison) -> list[Finding]:
    worse = [metric for metric in comparison.metrics if metric.verdict == "REGRESSED"]
    baseline = comparison.baseline.name if comparison.baseline else "none"
    return [
        Finding("regression", metric.metric.replace("_", " "), f"{_said(metric)} against {baseline}",
                f"Find out why {metric.metric} fell against {baseline}: metrics/report.html shows the pictures")
        for metric in worse
    ]  # fmt: skip


def _said(metric: MetricComparison) -> str:
    delta = "" if metric.delta is None else f" {metric.delta:+.3f}"
    interval = f" ({metric.interval.low:+.3f} to {metric.interval.high:+.3f})" if metric.interval else ""
    return f"{metric.metric}{delta}{interval}" + (", guarded" if metric.guarded else "")


def _of_scorecard(card: Scorecard) -> list[Finding]:
    flags = [
        Finding("flag", flag.name.replace("_", " "), f"{flag.name.replace('_', ' ')}: {flag.says}",
                f"Bring the flag {flag.name.replace('_', ' ')} down: metrics/report.html shows the pictures")
        for flag in card.raised_flags()
    ]  # fmt: skip
    return [*flags, *(Finding("warning", line, line, f"Measuring: {line}") for line in card.warnings)]
