"""Compare this version with the baseline, pair by pair, and say which one to use.

reads: metrics/scorecard.json, metrics/per_image.csv, metrics/versions/${compare.baseline}; for the page also
    data/manifest.json, data/sweep, data/eval, metrics/loss.csv, metrics/sweep_summary.csv, metrics/checkpoints.csv,
    metrics/sweep_choice.json, metrics/calibration.json
writes: metrics/comparison.json, metrics/comparison_report.md, metrics/report.html
"""

from pathlib import Path
from typing import Any

from stages.contracts.comparison import METRICS, Comparison, ConfigDifference, Version, write_comparison
from stages.contracts.paths import COMPARISON_REPORT, REPORT_PAGE, SCORECARD, VERSIONS
from stages.contracts.scorecard import Scorecard
from stages.contracts.settings import Compare, Section, Thresholds, read_params
from stages.flows.comparison import compare_metrics, describe_metrics, recommend
from stages.flows.report_page import gather_content
from stages.flows.runs import Run, check_protocols, read_run
from stages.flows.versions import list_versions
from stages.reports.comparison import render_comparison
from stages.reports.page.assemble import render_page
from stages.runtime.entry import run_stage
from stages.runtime.errors import UserError
from stages.runtime.files import write_text

NO_BASELINE = "none"


class Params(Section):
    """The sections that this stage declares."""

    compare: Compare
    thresholds: Thresholds


def baseline_folder(name: str, versions: Path = VERSIONS) -> Path | None:
    """The folder of version ``name``; None for ``none``.

    Raises:
        UserError: naming the versions that exist, when this one does not.
    """
    if name == NO_BASELINE:
        return None
    known = list_versions(versions)
    if name not in known:
        todo = "set compare.baseline to a promoted version, or to none"
        raise UserError("compare.baseline", f"no version {name!r} (there is: {', '.join(known) or 'none yet'})", todo)
    return versions / name


def check_settings(compare: Compare) -> None:
    """Refuse metric names that do not exist, before anything is computed.

    Raises:
        UserError: naming every unknown one.
    """
    unknown = sorted({*compare.equivalence, *compare.guarded} - set(METRICS))
    if unknown:
        todo = f"known: {', '.join(METRICS)}"
        raise UserError("compare", f"no such metric in equivalence or guarded: {', '.join(unknown)}", todo)


def describe_version(run: Run) -> Version:
    """What the comparison says of one version as a whole."""
    card = run.card
    return Version(
        name=run.name, run_id=card.run_id, lora_sha256=card.lora_sha256,
        lora_dataset=card.lora_dataset if card.comes_from_elsewhere else "", overall_score=card.overall_score,
        overall_grade=card.overall_grade, best_config=card.best_config, trainings=1 + len(run.replicas),
    )  # fmt: skip


def config_differences(baseline: Scorecard, candidate: Scorecard) -> list[ConfigDifference]:
    """The settings that differ: recipe, dataset, thresholds and the likeness ruler's ends, sorted by key."""
    before, after = (_flatten(_configuration(card)) for card in (baseline, candidate))
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [ConfigDifference(key=key, baseline=before.get(key), candidate=after.get(key)) for key in keys]


def _configuration(card: Scorecard) -> dict[str, Any]:
    dataset = {"name": card.dataset, "manifest_sha256": card.dataset_manifest_sha256}
    ruler = {"face": card.anchors.model_dump(), "second": card.second_anchors.model_dump()}
    return {"train": card.training_params, "thresholds": card.thresholds, "dataset": dataset, "ruler": ruler}


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def compare_versions(baseline: Run | None, candidate: Run, settings: Compare) -> Comparison:
    """The whole comparison; without a baseline it holds the candidate's values alone."""
    pictures = candidate.pictures
    if baseline is None:
        metrics, differences = describe_metrics(pictures, settings), []
    else:
        replicas = (baseline.replicas, candidate.replicas)
        metrics = compare_metrics(baseline.pictures, pictures, settings, replicas)
        differences = config_differences(baseline.card, candidate.card)
    return Comparison(
        comparable=baseline is not None, baseline=describe_version(baseline) if baseline else None,
        candidate=describe_version(candidate), protocol=candidate.card.protocol, confidence=settings.confidence,
        prompts=len(set(pictures.prompt_index_N.tolist())), images=len(pictures.prompt_index_N), metrics=metrics,
        config_differences=differences, recommendation=recommend(metrics, comparable=baseline is not None),
    )  # fmt: skip


def main() -> None:
    """Read both versions, compare, write."""
    params = read_params(Params)
    check_settings(params.compare)
    folder, face_pass = baseline_folder(params.compare.baseline), params.thresholds.face_pass
    candidate = read_run(SCORECARD.parent, None, face_pass)
    baseline = read_run(folder, params.compare.baseline, face_pass) if folder else None
    if baseline:
        check_protocols(baseline, candidate)
    comparison = compare_versions(baseline, candidate, params.compare)
    page = render_page(gather_content(candidate.card, comparison, folder))
    write_comparison(comparison)
    write_text(REPORT_PAGE, page)
    write_text(COMPARISON_REPORT, render_comparison(comparison))


if __name__ == "__main__":
    run_stage(main)
