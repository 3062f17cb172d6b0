"""The promotion policy: what may become a version.  Every objection is one line that names the rule behind it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.contracts.comparison import JUDGED, Comparison, read_comparison
from stages.contracts.paths import COMPARISON, VERSIONS
from stages.contracts.scorecard import Scorecard
from stages.contracts.settings import Promotion, Thresholds
from stages.flows.licences import BASE, CONDITIONING, UNKNOWN, find_forbidding, licence_of_folder

GRADES = "ABCDF"


def find_objections(
    name: str, card: Scorecard, thresholds: Thresholds, policy: Promotion, versions: Sequence[str]
) -> list[str]:
    """What speaks against promoting this run as ``name``; empty when the gate is open.

    The rules: ``name`` is new; the ``grade`` is at least thresholds.promotion_grade; a ``comparison`` of this very run
    with the baseline exists once there are versions; no ``guarded`` metric regressed; the two face ``judges`` agree;
    the scorecard raises no ``flags``; the ``licences`` of base, judges and conditioning
    models allow promotion.use.
    """
    objections = [*_name(name), *_grade(card, thresholds), *_flags(card), *_agreement(card)]
    comparison, missing = _comparison(card, versions)
    objections += missing
    if comparison is not None and comparison.baseline is not None:
        objections += [*_guarded(comparison, comparison.baseline.name), *_judges(comparison)]
    return objections + list(_licences(licences_of(card, policy), policy))


def _name(name: str) -> Iterator[str]:
    if (VERSIONS / name).exists():
        yield f"the version exists ({VERSIONS / name}; rule: name)"


def _grade(card: Scorecard, thresholds: Thresholds) -> Iterator[str]:
    if GRADES.index(card.overall_grade) > GRADES.index(thresholds.promotion_grade):
        yield (
            f"grade {card.overall_grade} ({card.overall_score:.3f}) is below {thresholds.promotion_grade} "
            "(rule: grade, thresholds.promotion_grade)"
        )


def _flags(card: Scorecard) -> Iterator[str]:
    for flag in card.raised_flags():
        yield f"flagged: {flag.says.rstrip('.')} (rule: flags, thresholds.flags)"


def _agreement(card: Scorecard) -> Iterator[str]:
    if card.agreement is not None and card.agreement.disagree:
        points = f"{abs(card.agreement.difference):.0f} ruler points"
        yield f"the two face judges are {points} apart (rule: judges, thresholds.judges_apart)"


def _comparison(card: Scorecard, versions: Sequence[str]) -> tuple[Comparison | None, list[str]]:
    if not COMPARISON.exists():
        missing = f"no {COMPARISON}: run `dvc repro compare` (rule: comparison)"
        return None, [missing] if versions else []
    comparison = read_comparison()
    if comparison.candidate.run_id != card.run_id:
        other = comparison.candidate.run_id
        return None, [f"{COMPARISON} is of run {other}, not {card.run_id}: run `dvc repro compare` (rule: comparison)"]
    return comparison, []


def _guarded(comparison: Comparison, baseline: str) -> Iterator[str]:
    worse = comparison.regressed_guarded()
    if worse:
        yield f"regressed against {baseline} on guarded {', '.join(worse)} (rule: guarded, compare.guarded)"


def _judges(comparison: Comparison) -> Iterator[str]:
    if comparison.judges_disagree():
        said = ", ".join(f"{m.metric} {m.verdict}" for m in comparison.metrics if m.metric in JUDGED)
        yield f"the two face judges contradict each other: {said} (rule: judges)"


def licences_of(card: Scorecard, policy: Promotion) -> dict[str, str]:
    """Under which licence base, judges and conditioning models come: the scorecard's, where conf/ is silent today."""
    recorded = card.licences
    today = {
        who: policy.conditioning[name]
        for who in recorded
        if (name := who.removeprefix(f"{CONDITIONING} ")) != who and name in policy.conditioning
    }
    base = licence_of_folder(Path(card.best_config.base), policy)
    unsaid = {CONDITIONING: UNKNOWN} if _says_nothing_of_conditioning(card) else {}
    return recorded | today | unsaid | ({BASE: base} if base != UNKNOWN else {BASE: recorded.get(BASE, UNKNOWN)})


def _says_nothing_of_conditioning(card: Scorecard) -> bool:
    """Scorecards of modes that condition on a photo, from before their models stood in them."""
    return "+" in card.best_config.mode and not any(who.startswith(CONDITIONING) for who in card.licences)


def _licences(licences: dict[str, str], policy: Promotion) -> Iterator[str]:
    forbidding = find_forbidding(licences, policy.use)
    if forbidding:
        yield (
            f"use is declared {policy.use}, which is not allowed by {'; '.join(forbidding)} "
            "(rule: licences, promotion.use)"
        )
