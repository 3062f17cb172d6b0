"""What a review comes to: how well the gate and the person agree, or which of two versions the person prefers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from publish.review.gallery import Item
from publish.review.pairs import Assignment
from publish.review.votes import Vote
from stages.contracts.artifact import Closed
from stages.measures.verdict import adjust_holm
from stages.measures.votes import (
    ENOUGH,
    count_confusion,
    measure_cut,
    measure_kappa,
    measure_preference,
    measure_separation,
)

RESAMPLES, SEED = 1000, 0
LEVEL = 0.05  # p of a score, with Holm's correction over the scores, from which on it tells nothing
# A score of a record, and the line of conf/thresholds that divides it.
SCORES = {
    "similarity": "face_pass: {}", "second_similarity": "second_pass: {}", "realism": "batch: {{realism: {}}}",
    "adherence": "batch: {{adherence: {}}}", "sharpness": "batch: {{sharpness: {}}}",
}  # fmt: skip


class Suggestion(Closed):
    """One score, and where this person would divide it."""

    score: str
    threshold: float | None = Field(description="null: none tells what was approved from what was rejected")
    low: float | None
    high: float | None
    youden: float | None = Field(description="sensitivity + specificity - 1; 0: no better than chance")
    sensitivity: float | None
    specificity: float | None
    p: float = Field(description="that the score is no higher where approved, with Holm's correction over the scores")
    line: str = Field(description="for conf/thresholds/default.yaml; empty: the score does not tell the votes apart")


class GateReport(Closed):
    """The gate against the person, on pictures that were voted on without seeing the scores."""

    kind: str = "gate"
    pictures: int
    approved: int = Field(description="by the person, with the scores in view or not")
    rejected: int
    compared: int = Field(description="pictures with a record and a blind vote")
    both_approved: int
    only_gate: int
    only_person: int
    both_rejected: int
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    suggestions: tuple[Suggestion, ...]
    remarks: tuple[str, ...]


class PreferenceReport(Closed):
    """Two versions, unblinded."""

    kind: str = "preference"
    first: str
    second: str
    pairs: int
    voted: int
    first_won: int
    second_won: int
    ties: int
    share: float | None = Field(description="of the decided pairs, for the first; exact 95% interval")
    low: float
    high: float
    p: float = Field(description="two-sided sign test")
    remarks: tuple[str, ...]


Report = GateReport | PreferenceReport


def report_gate(items: Sequence[Item], standing: Mapping[str, Vote]) -> GateReport:
    """Agreement of gate and person, and the thresholds that would match."""
    said = [vote.vote == "approve" for vote in standing.values()]
    blind = [(item, standing[item.id]) for item in items if item.id in standing and not standing[item.id].scores_shown]
    both = [(item.pictures[0].record, vote.vote == "approve") for item, vote in blind]
    compared = [(record, approved) for record, approved in both if record is not None]
    gate_N = np.array([record.approved for record, _ in compared], bool)
    person_N = np.array([approved for _, approved in compared], bool)
    table = count_confusion(gate_N, person_N)
    kappa = measure_kappa(gate_N, person_N, resamples=RESAMPLES, seed=SEED)
    scores = {name: np.array([getattr(record.scores, name) for record, _ in compared]) for name in SCORES}
    recorded = any(item.pictures[0].record for item in items)
    return GateReport(
        pictures=len(items), approved=sum(said), rejected=len(said) - sum(said), compared=table.pictures,
        both_approved=table.both_approved, only_gate=table.only_gate, only_person=table.only_person,
        both_rejected=table.both_rejected, kappa=kappa.value if kappa else None, kappa_low=kappa.low if kappa else None,
        kappa_high=kappa.high if kappa else None,
        suggestions=tuple(_suggest(scores, person_N)) if compared else (),
        remarks=tuple(_remarks(person_N, len(standing) - len(blind), recorded)),
    )  # fmt: skip


def _suggest(scores: Mapping[str, np.ndarray], person_N: np.ndarray) -> Iterator[Suggestion]:
    p_S = adjust_holm(np.array([measure_separation(score_N, person_N) for score_N in scores.values()]))
    for (name, score_N), p in zip(scores.items(), p_S, strict=True):
        found = measure_cut(score_N, person_N, resamples=RESAMPLES, seed=SEED)
        if found is None:
            nothing: dict[str, Any] = dict.fromkeys(
                ("threshold", "low", "high", "youden", "sensitivity", "specificity")
            )
            yield Suggestion(score=name, p=float(p), line="", **nothing)
            continue
        cut, interval = found
        line = SCORES[name].format(f"{cut.value:.3f}") if p <= LEVEL else ""
        yield Suggestion(
            score=name, threshold=cut.value, low=interval.low, high=interval.high, youden=cut.youden,
            sensitivity=cut.sensitivity, specificity=cut.specificity, p=float(p), line=line,
        )  # fmt: skip


def _remarks(person_N: np.ndarray, seen: int, recorded: bool) -> list[str]:
    if not recorded:
        return ["These pictures have no records, so there is no gate to compare with."]
    good, bad = int(person_N.sum()), int((~person_N).sum())
    remarks = []
    if seen:
        remarks.append(f"Votes cast with the scores in view are not blind and are left out: {seen}.")
    if min(good, bad) < ENOUGH:
        remarks.append(
            f"Too few votes to move a threshold: {good} approved and {bad} rejected; {ENOUGH} of each are wanted."
        )
    return remarks


def report_preference(items: Sequence[Item], standing: Mapping[str, Vote], assignment: Assignment) -> PreferenceReport:
    """Which version won how often."""
    cast = [(item.left_is_first, standing[item.id].vote) for item in items if item.id in standing]
    ties = sum(vote == "tie" for _, vote in cast)
    first = sum((vote == "left") == left_is_first for left_is_first, vote in cast if vote != "tie")
    found = measure_preference(first, len(cast) - ties - first, ties)
    remarks = []
    if len(cast) < len(items):
        remarks.append(f"Opened early: {len(cast)} of {len(items)} pairs have a vote.")
    if found.p > LEVEL and cast:
        remarks.append("The votes do not tell the two apart: a coin would do as much.")
    return PreferenceReport(
        first=assignment.first, second=assignment.second, pairs=len(items), voted=len(cast), first_won=found.first,
        second_won=found.second, ties=ties, share=found.share.rate, low=found.share.low, high=found.share.high,
        p=found.p, remarks=tuple(remarks),
    )  # fmt: skip


def render_report(report: Report) -> str:
    """The report as lines for a terminal."""
    return "\n".join(_gate_lines(report) if isinstance(report, GateReport) else _preference_lines(report))


def _gate_lines(report: GateReport) -> list[str]:
    voted = report.approved + report.rejected
    lines = [f"{voted} of {report.pictures} pictures voted on: {report.approved} approved, {report.rejected} rejected"]
    if report.compared:
        kappa = _interval(report.kappa, report.kappa_low, report.kappa_high)
        lines += [
            "", f"gate against person, {report.compared} pictures, Cohen's kappa {kappa}", "",
            "                 you approved  you rejected",
            f"  gate approved  {report.both_approved:>12}  {report.only_gate:>12}",
            f"  gate rejected  {report.only_person:>12}  {report.both_rejected:>12}",
        ]  # fmt: skip
    if report.compared and report.suggestions:
        lines += ["", "the threshold that would match you best (95% interval, Youden's J; nothing is changed)"]
        for each in report.suggestions:
            shown = f"{_interval(each.threshold, each.low, each.high)}, J {each.youden:.2f}" if each.youden else "none"
            said = f"conf/thresholds: {each.line}" if each.line else "does not tell your votes apart"
            lines.append(f"  {each.score:<18}{shown:<34}{said}")
    return lines + (["", *report.remarks] if report.remarks else [])


def _preference_lines(report: PreferenceReport) -> list[str]:
    return [
        f"{report.first} against {report.second}: {report.voted} of {report.pairs} pairs voted on",
        f"  {report.first} preferred {report.first_won}, {report.second} preferred {report.second_won}, "
        f"ties {report.ties}",
        f"  share for {report.first} {_interval(report.share, report.low, report.high)} of the decided pairs, "
        f"sign test p = {report.p:.3f}",
        *report.remarks,
    ]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return "unknown" if value is None or low is None or high is None else f"{value:.2f} ({low:.2f} to {high:.2f})"
