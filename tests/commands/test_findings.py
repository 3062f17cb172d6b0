"""`pistachio findings promote`: the difference first, and nothing without a yes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stages.__main__ import app
from stages.contracts.comparison import Comparison, MetricComparison, Recommendation, Version, write_comparison
from stages.contracts.findings import Flag
from stages.contracts.scorecard import Interval, Scorecard, write_scorecard
from stages.flows.briefing import read_briefing
from stages.runtime.errors import UserError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., Scorecard]) -> Scorecard:
    """A run that leaks, warns, and is worse than v2 on two metrics."""
    monkeypatch.chdir(tmp_path)
    card = write_run(tmp_path / "metrics", "v3")
    interval = Interval(low=10, high=30)
    leaking = Flag(name="leaking", raised=True, value=20.0, interval=interval, limit=50, says="it leaks")
    sound = leaking.model_copy(update={"name": "copying", "raised": False})
    card = card.model_copy(update={"flags": [leaking, sound], "warnings": ["Only 4 holdout photos show skin"]})
    write_scorecard(card, Path("metrics/scorecard.json"))
    write_versus(card.run_id, similarity="REGRESSED", face_found="REGRESSED", adherence="IMPROVED")
    return card


def write_versus(run_id: str, **verdicts: Any) -> None:
    card = json.loads(Path("metrics/scorecard.json").read_text())

    def version(name: str, run: str) -> Version:
        return Version(name=name, run_id=run, lora_sha256="", overall_score=0.5, overall_grade="C",
                       best_config=card["best_config"])  # fmt: skip

    metrics = [
        MetricComparison(metric=name, candidate=0.4, delta=-0.1, interval=Interval(low=-0.2, high=-0.05),
                         verdict=verdict, guarded=name == "face_found")
        for name, verdict in verdicts.items()
    ]  # fmt: skip
    write_comparison(
        Comparison(comparable=True, baseline=version("v2", "old"), candidate=version("v3", run_id), protocol="ab",
                   confidence=0.95, prompts=24, images=48, metrics=metrics, config_differences=[],
                   recommendation=Recommendation(action="keep", reason="worse"))
    )  # fmt: skip


def promote(*words: str, said: str = "") -> Any:
    return CliRunner().invoke(app, ["findings", "promote", *words], input=said)


def test_regressions_flags_and_warnings_are_the_briefing(run: Scorecard) -> None:
    found = read_briefing().findings
    assert [finding.kind for finding in found] == ["regression", "regression", "flag", "warning"]
    assert found[1].text == "face_found -0.100 (-0.200 to -0.050), guarded against v2"


def test_a_no_writes_nothing_and_a_yes_writes_both_pages(run: Scorecard) -> None:
    result = promote(said="n\n")
    assert result.exit_code == 1
    assert "+- it leaks" not in result.output
    assert "+- leaking: it leaks" in result.output
    assert not Path("docs").exists()
    assert promote("--dry-run").exit_code == 0
    assert not Path("docs").exists()
    assert promote(said="y\n").exit_code == 0
    before = Path("docs/findings.md").read_text(), Path("docs/tasks.md").read_text()
    result = promote("--yes")
    assert "4 findings, nothing new" in result.output
    assert (Path("docs/findings.md").read_text(), Path("docs/tasks.md").read_text()) == before


def test_a_comparison_of_another_run_is_refused(run: Scorecard) -> None:
    write_versus("another")
    with pytest.raises(UserError, match="dvc repro compare"):
        read_briefing()


def test_a_run_without_findings_makes_no_pages(run: Scorecard) -> None:
    write_scorecard(run.model_copy(update={"flags": [], "warnings": []}), Path("metrics/scorecard.json"))
    write_versus(run.run_id, similarity="IMPROVED")
    assert "0 findings, nothing new" in promote("--yes").output
    assert not Path("docs").exists()
