"""The parts of the report that stand beside the means: flags, poses, judges, thresholds, the other side of likeness."""

from collections.abc import Sequence
from typing import Any

from stages.contracts.calibration import Calibration, JudgeCalibration, Rate
from stages.contracts.findings import Diversity, Interval
from stages.contracts.scorecard import Scorecard

JUDGES = {"faces": "face pack", "second": "second judge"}

FLAGS = {
    "copying": "copying", "wrong_identity": "wrong identity", "leaking": "leaking", "memorising": "memorising",
}  # fmt: skip
CLOSEST = 3


def name_part(who: str) -> str:
    """Whom a licence in the scorecard is of: the base, a judge, or what conditions the face."""
    kind, _, name = who.partition(" ")
    match kind:
        case "base":
            return "the base model"
        case "conditioning":
            return f"what conditions the face, {name}"
        case _:
            return f"the judge {who.replace('_', ' ')}"


def bullets(lines: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def render_flags(card: Scorecard) -> str:
    """What is wrong beside the grade, or that nothing is."""
    if not card.flags:
        return ""
    raised = [f"**{FLAGS[flag.name].capitalize()}**: {flag.says}." for flag in card.raised_flags()]
    return (
        bullets(raised) if raised else f"No flag is up: not {', not '.join(FLAGS[flag.name] for flag in card.flags)}."
    )


def render_poses(card: Scorecard) -> list[str]:
    """Likeness pose by pose; nothing where only one pose is shown."""
    if not card.poses:
        return []
    lines = ["| pose | pictures | face pack | 95% interval | second judge | 95% interval | ruler |",
             "|---|---:|---:|---|---:|---|---|"]  # fmt: skip
    for pose, figures in card.poses.items():
        own = card.anchors.poses.get(pose)
        ruler = f"its own ({own.photos} photos)" if own else "that of all poses"
        lines.append(
            f"| {pose} | {figures.images} | {figures.likeness:.0f} | {_range(figures.likeness_interval, 0)} "
            f"| {figures.second_likeness:.0f} | {_range(figures.second_likeness_interval, 0)} | {ruler} |"
        )
    return ["\n".join(lines)]


def render_judges(card: Scorecard) -> str:
    """Which judge decides, whether they agree, and under which licences they come."""
    decides = JUDGES[card.gating_judge]
    lines = [f"{decides} decides about grade and promotion: the generator was not given its embedding"]
    agreement = card.agreement
    apart = abs(card.likeness - card.second_likeness)
    if agreement and agreement.correlation is not None and agreement.correlation_interval:
        lines.append(
            f"over {agreement.images} pictures with a face their similarities correlate with "
            f"{agreement.correlation:.2f} ({_range(agreement.correlation_interval, 2)}; Spearman)"
        )
    if agreement and agreement.alarm and agreement.conditioned:
        shown = JUDGES[agreement.conditioned]
        lines.append(
            f"**ALARM: the generator was given the {shown}'s embedding (mode {card.best_config.mode}), and the judges "
            f"disagree by {apart:.0f} points.** Believe the {decides}; look at the pictures."
        )
    elif agreement.disagree if agreement else apart > card.thresholds["judges_apart"]:
        lines.append(f"**The judges disagree by {apart:.0f} points.** Where they do, look at the pictures.")
    if agreement:
        lines.append(
            f"likeness by the face pack minus by the second judge: {agreement.difference:+.0f} "
            f"({_range(agreement.difference_interval, 0)})"
        )
    bound = [who for who, licence in card.licences.items() if "non-commercial" in licence.lower()]
    if bound:
        names = ", ".join(JUDGES.get(who, who.replace("_", " ")) for who in bound)
        lines.append(f"weights for non-commercial use only: {names}")
    return bullets(lines)


def render_other(card: Scorecard, rows: Sequence[dict[str, Any]]) -> str:
    """Leakage, memorisation and diversity: what likeness can be bought with."""
    lines = [
        f"leakage: without the trigger the LoRA draws {100 - card.prior_preservation:.0f} points of this person (100 "
        f"minus prior preservation, {card.prior_preservation:.0f}, {_range(card.prior_preservation_interval, 0)}): "
        "0 is what the base model's strangers have"
    ]
    if card.memorisation:
        found = card.memorisation
        lines.append(
            f"memorisation: {found.share:.0%} of the pictures ({found.share_interval.low:.0%} to "
            f"{found.share_interval.high:.0%}) are closer to a training photo than nearly all of {found.photos} real "
            f"photos are to one of another moment; base model {found.base_share:.0%}; the closest are {_closest(rows)}"
        )
    if card.diversity:
        lines += _diversity(card.diversity)
    if card.texture_z is not None and card.tone_z is not None:
        lines.append(
            f"skin, in spreads of the holdout photos: texture {card.texture_z:+.1f} (below 0 smoother), tone "
            f"{card.tone_z:+.1f} (below 0 paler)"
        )
    return bullets(lines)


def _closest(rows: Sequence[dict[str, Any]]) -> str:
    ours = sorted((row for row in rows if row["set"] == "lora"), key=lambda row: (-row["closeness"], row["file"]))
    return ", ".join(f"{row['file']} (like {row['nearest_photo']})" for row in ours[:CLOSEST])


def _diversity(found: Diversity) -> list[str]:
    lines = []
    for name, unit, within, interval, base, across, real in (
        ("diversity", "CLIP distance", found.within, found.within_interval, found.base_within, found.across,
         found.real),
        ("pose and expression", "landmark distance", found.pose_within, found.pose_within_interval,
         found.base_pose_within, found.pose_across, found.pose_real),
    ):  # fmt: skip
        own = "one picture per prompt" if within is None or interval is None else (
            f"{within:.3f} between pictures of one prompt ({_range(interval, 3)}; base model {_number(base)})"
        )  # fmt: skip
        lines.append(f"{name}, mean {unit}: {own}; {_number(across)} between all, {_number(real)} between real photos")
    return lines


def render_calibration(calibration: Calibration) -> str:
    """How the thresholds divide this person's photos from other people."""
    strict = f"threshold for {calibration.faces.strict.far:.0%} of others"
    lines = [f"| judge | threshold | refuses of this person's photos | lets pass of other people | {strict} "
             "| refuses there |",
             "|---|---:|---|---|---|---|"]  # fmt: skip
    for name, judge in (("face pack", calibration.faces), ("second judge", calibration.second)):
        refused = _rate(judge.strict.frr) if judge.strict.value is not None else ""
        lines.append(
            f"| {name} | {judge.threshold:g} | {_rate(judge.frr)} | {_rate(judge.far)} | {_strict(judge)} | {refused} |"
        )
    lines += [
        "",
        f"The person: training photos, one of each moment, against {calibration.references} holdout photos. Other "
        f"people: {calibration.class_images} class images and {calibration.base_pictures} pictures of the base model. "
        "Intervals: 95%, Clopper-Pearson; of a threshold, order statistics.",
    ]
    return "\n".join(lines)


def _strict(judge: JudgeCalibration) -> str:
    strict = judge.strict
    if strict.value is None:
        return f"unknown: {len(judge.impostor)} other people are too few"
    if strict.low is None or strict.high is None:
        end = "" if strict.low is None else f"{strict.low:.3f} or more; "
        return f"{strict.value:.3f} ({end}an interval takes {strict.needed} other people)"
    return f"{strict.value:.3f} ({strict.low:.3f} to {strict.high:.3f})"


def _rate(rate: Rate) -> str:
    if rate.rate is None:
        return "nobody to ask"
    return f"{rate.count} of {rate.trials}: {rate.rate:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def _range(interval: Interval, digits: int) -> str:
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
