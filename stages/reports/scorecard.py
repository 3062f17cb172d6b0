"""A scorecard as a page to read: the verdict first, then the ruler, the figures, and what they rest on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.contracts.calibration import Calibration
from stages.contracts.findings import Anchors, Interval
from stages.contracts.lora import describe_step
from stages.contracts.scorecard import Cell, Scorecard
from stages.reports.findings import (
    bullets,
    name_part,
    render_calibration,
    render_flags,
    render_judges,
    render_other,
    render_poses,
)

RULER = 50  # characters from 0 to 100
WEAKEST = 5


def markdown(
    card: Scorecard, rows: Sequence[dict[str, Any]], calibration: Calibration | None = None, advice: Sequence[str] = ()
) -> str:
    """metrics/report.md.

    Args:
        card: the scorecard.
        rows: of per_image.csv, all sets.
        calibration: of the judges for this person.
        advice: what photos to add, one sentence each.
    """
    parts = [
        _verdict(card), render_flags(card), *([bullets(card.warnings)] if card.warnings else []),
        "## Likeness", _likeness(card), *render_poses(card), "## The two judges", render_judges(card),
        "## The other side of likeness", render_other(card, rows), "## Figures", _figures(card, rows),
        *(["## What the thresholds do", render_calibration(calibration)] if calibration else []),
        "## Settings", _settings(card), "## Weakest pictures", _weakest(rows),
        *(["## Photos to add", bullets(advice)] if advice else []), "## What it rests on", _origin(card),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdict(card: Scorecard) -> str:
    found = round(card.face_detection_rate * card.images_evaluated)
    return (
        f"# {card.dataset} {card.lora_version}: grade {card.overall_grade}, overall {card.overall_score:.2f}\n\n"
        f"Likeness **{card.likeness:.0f}** of 100 ({_interval(card.likeness_interval, 0)}); the second judge says "
        f"**{card.second_likeness:.0f}** ({_interval(card.second_likeness_interval, 0)}). A face is found in {found} "
        f"of {card.images_evaluated} pictures, skin realism is {card.skin_realism_mean:.2f}, prompt adherence "
        f"{card.prompt_adherence_mean:.3f} (base model {card.base_prompt_adherence_mean:.3f})."
    )


def draw_ruler(name: str, likeness: float, interval: Interval) -> str:
    """One line: ``#`` at the likeness, ``=`` over its interval, from 0 (base model) to 100 (real photos) and beyond."""

    def place(value: float) -> int:
        return round(min(max(value, -10.0), 110.0) / 100 * RULER) + RULER // 10

    line = ["."] * (RULER + 2 * (RULER // 10) + 1)
    line[place(0)] = line[place(100)] = "|"
    for i in range(place(interval.low), place(interval.high) + 1):
        line[i] = "="
    line[place(likeness)] = "#"
    return f"{name:<12}{''.join(line)}  {likeness:.0f}"


def _likeness(card: Scorecard) -> str:
    margin = " " * (12 + RULER // 10)
    scale = f"{margin}0 base model{'real photos 100'.rjust(RULER - 11)}"
    lines = [scale, draw_ruler("face pack", card.likeness, card.likeness_interval),
             draw_ruler("second", card.second_likeness, card.second_likeness_interval)]  # fmt: skip
    text = ["```", *lines, "```", "", _ends("face pack", card.anchors), _ends("second judge", card.second_anchors), "",
            "0 is what the base model draws without the LoRA from the same prompts, seeds and noise; 100 is what the "
            "training photos score against the holdout photos, measured the same way. A picture without a face counts "
            "as similarity 0."]  # fmt: skip
    return "\n".join(text)


def _ends(name: str, ends: Anchors) -> str:
    return f"- {name}: base model at raw cosine {ends.base:.3f}, real photos at {ends.real:.3f}"


@dataclass(frozen=True)
class Figure:
    """One line of the scorecard's table."""

    name: str
    value: float
    interval: Interval | None
    base: float  # the base model's, from the same prompts, seeds and noise
    asked: float | None  # by thresholds
    digits: int

    @property
    def said(self) -> str:
        """Whether the value is what was asked for; empty when nothing was."""
        return "" if self.asked is None else "reached" if self.value >= self.asked else "missed"


def list_figures(card: Scorecard, rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """The figures of the scorecard beside the base model's, from the scorecard and the rows of per_image.csv."""
    bar = card.thresholds
    base = [row for row in rows if row["set"] == "base"]
    table = [
        ("likeness, face pack", card.likeness, card.likeness_interval, "likeness", None, 1),
        ("likeness, second judge", card.second_likeness, card.second_likeness_interval, "second_likeness", None, 1),
        ("similarity, face pack", card.face_similarity_mean, card.face_similarity_interval, "similarity", None, 3),
        ("similarity, second judge", card.second_similarity_mean, card.second_similarity_interval, "second_similarity",
         None, 3),
        (f"share with similarity of {bar['face_pass']:g} or more", card.face_similarity_pass, None, "passed", None, 2),
        ("share with a face", card.face_detection_rate, None, "face_found", None, 2),
        ("skin texture", card.texture_score, None, "texture_score", bar["texture"], 2),
        ("skin colour", card.color_naturalness_score, None, "color_naturalness_score", bar["colour"], 2),
        ("skin realism", card.skin_realism_mean, None, "realism_score", bar["realism"], 2),
        ("prompt adherence", card.prompt_adherence_mean, None, "adherence", None, 3),
        ("prior preservation (the class word alone is somebody else)", card.prior_preservation,
         card.prior_preservation_interval, "prior_preservation", None, 0),
    ]  # fmt: skip
    figures = []
    for name, value, interval, column, asked, digits in table:
        alone = round(sum(row[column] for row in base) / len(base), 6) + 0.0  # no "-0.0"
        figures.append(Figure(name, value, interval, alone, asked, digits))
    return figures


def _figures(card: Scorecard, rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| | LoRA | 95% interval | base model | asked for | |", "|---|---:|---|---:|---:|---|"]
    for it in list_figures(card, rows):
        lines.append(
            f"| {it.name} | {it.value:.{it.digits}f} | {_interval(it.interval, it.digits) if it.interval else ''} "
            f"| {it.base:.{it.digits}f} | {'' if it.asked is None else f'{it.asked:.{it.digits}f}'} | {it.said} |"
        )
    return "\n".join(lines)


def _interval(interval: Interval, digits: int) -> str:
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _settings(card: Scorecard) -> str:
    def line(name: str, cell: Cell) -> str:
        return (
            f"| {name} | {cell.base} | {cell.mode} | {describe_step(cell.checkpoint)} | {cell.sampler} "
            f"| {cell.guidance:g} | {cell.strength:g} | {cell.similarity_mean:.3f} | {cell.detection_rate:.0%} |"
        )

    return "\n".join(
        [
            "Chosen by the sweep, on prompts and seeds of its own; the pictures judged here are fresh.", "",
            "| | base | mode | step | sampler | guidance | strength | similarity in the sweep | faces |",
            "|---|---|---|---:|---|---:|---:|---:|---:|", line("best", card.best_config),
            line("worst", card.worst_config),
        ]
    )  # fmt: skip


def _weakest(rows: Sequence[dict[str, Any]]) -> str:
    ours = sorted((row for row in rows if row["set"] == "lora"), key=lambda row: (row["similarity"], row["file"]))
    lines = ["| picture | similarity | face | prompt |", "|---|---:|---|---|"]
    for row in ours[:WEAKEST]:
        prompt = row["prompt"].replace("|", "\\|")
        lines.append(f"| {row['file']} | {row['similarity']:.3f} | {'yes' if row['face_found'] else 'no'} | {prompt} |")
    return "\n".join(lines)


def _origin(card: Scorecard) -> str:
    licences = [f"{name_part(who)}: {licence}" for who, licence in card.licences.items()]
    notes = [f"notes: {card.notes}"] if card.notes else []
    return bullets(
        [
            f"protocol `{card.protocol}`; figures of another protocol must not be compared with these",
            f"run `{card.run_id}`, LoRA sha256 `{card.lora_sha256}`",
            f"manifest sha256 `{card.dataset_manifest_sha256}`",
            *([f"the LoRA was trained on: {card.lora_dataset}"] if card.comes_from_elsewhere else []),
            "intervals: percentile bootstrap over prompts; those of likeness over the photos' moments as well, so that "
            "they hold what so few photos leave open about the ruler's ends",
            "grade: likeness (at most 100) by the judge that decides and skin realism, weighted "
            + ", ".join(f"{name} {weight:g}" for name, weight in card.thresholds["weights"].items()),
            *(f"licence of {line}" for line in licences), *notes,
        ]
    )  # fmt: skip
