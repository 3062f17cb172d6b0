"""Compare this version with the baseline, pair by pair, and say which one to use.

reads: metrics/scorecard.json, metrics/per_image.csv, metrics/versions/${compare.baseline}; for the page also
    data/manifest.json, data/sweep, data/eval, metrics/loss.csv, metrics/sweep_summary.csv, metrics/checkpoints.csv,
    metrics/sweep_choice.json, metrics/calibration.json
writes: metrics/comparison.json, metrics/comparison_report.md, metrics/report.html
"""

from pathlib import Path
from typing import Any

from stages.contracts.comparison import METRICS, Comparison, ConfigDifference, Version, write_comparison
from stages.contracts.paths import COMPARISON_REPORT, PER_IMAGE, REPORT_PAGE, SCORECARD, VERSIONS
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.contracts.settings import Compare, Section, Thresholds, read_params
from stages.flows.comparison import Pictures, compare_metrics, describe_metrics, read_pictures_table, recommend
from stages.flows.report_page import gather_content
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


def check_protocols(baseline: Scorecard, candidate: Scorecard, name: str) -> None:
    """Refuse figures that were measured in different ways.

    Raises:
        UserError: naming both protocols.
    """
    if baseline.protocol != candidate.protocol:
        what = f"measured under protocol {baseline.protocol[:12]}, this version under {candidate.protocol[:12]}"
        todo = "not comparable: evaluate the baseline again under this protocol and promote it, or say baseline: none"
        raise UserError(f"metrics/versions/{name}", what, todo)


def describe_version(scorecard: Scorecard, name: str) -> Version:
    """What the comparison says of one version as a whole."""
    return Version(
        name=name, run_id=scorecard.run_id, lora_sha256=scorecard.lora_sha256, overall_score=scorecard.overall_score,
        overall_grade=scorecard.overall_grade, best_config=scorecard.best_config,
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


def compare_versions(
    baseline: tuple[Scorecard, Pictures] | None, candidate: tuple[Scorecard, Pictures], settings: Compare
) -> Comparison:
    """The whole comparison; without a baseline it holds the candidate's values alone."""
    card, pictures = candidate
    if baseline is None:
        metrics, differences = describe_metrics(pictures, settings), []
    else:
        metrics = compare_metrics(baseline[1], pictures, settings)
        differences = config_differences(baseline[0], card)
    before = describe_version(baseline[0], settings.baseline) if baseline else None
    return Comparison(
        comparable=baseline is not None, baseline=before,
        candidate=describe_version(card, card.lora_version), protocol=card.protocol, confidence=settings.confidence,
        prompts=len(set(pictures.prompt_index_N.tolist())), images=len(pictures.prompt_index_N), metrics=metrics,
        config_differences=differences, recommendation=recommend(metrics, comparable=baseline is not None),
    )  # fmt: skip


def read_version(folder: Path, face_pass: float) -> tuple[Scorecard, Pictures]:
    """The scorecard and the pictures' scores in ``folder``."""
    return read_scorecard(folder / SCORECARD.name), read_pictures_table(folder / PER_IMAGE.name, face_pass)


def main() -> None:
    """Read both versions, compare, write."""
    params = read_params(Params)
    check_settings(params.compare)
    folder = baseline_folder(params.compare.baseline)
    candidate = read_version(SCORECARD.parent, params.thresholds.face_pass)
    baseline = read_version(folder, params.thresholds.face_pass) if folder else None
    if baseline:
        check_protocols(baseline[0], candidate[0], params.compare.baseline)
    comparison = compare_versions(baseline, candidate, params.compare)
    page = render_page(gather_content(candidate[0], comparison, folder))
    write_comparison(comparison)
    write_text(REPORT_PAGE, page)
    write_text(COMPARISON_REPORT, render_comparison(comparison))


if __name__ == "__main__":
    run_stage(main)
