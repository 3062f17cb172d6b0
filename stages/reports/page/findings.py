"""What stands beside likeness: flags, poses, the judges' agreement, diversity, memorisation, and what thresholds do."""

from dataclasses import dataclass

from markupsafe import Markup

from stages.contracts.calibration import Calibration, JudgeCalibration, Rate
from stages.contracts.findings import Interval
from stages.contracts.scorecard import Scorecard
from stages.reports.findings import FLAGS, JUDGES
from stages.reports.page.charts import draw_strip


@dataclass(frozen=True)
class FlagLine:
    """One flag, up or down."""

    name: str
    raised: bool
    says: str


@dataclass(frozen=True)
class PoseLine:
    """The version's pictures of one pose."""

    pose: str
    images: int
    likeness: str
    interval: str
    second: str
    second_interval: str
    ruler: str


@dataclass(frozen=True)
class BesideLine:
    """A figure of the version beside the base model's and the real photos'."""

    name: str
    value: str
    interval: str
    base: str
    real: str


@dataclass(frozen=True)
class JudgeThreshold:
    """How one judge's threshold divides this person from others."""

    name: str
    says: str
    strip: Markup


def flag_lines(card: Scorecard) -> list[FlagLine]:
    """Every flag, the raised ones first."""
    lines = [FlagLine(FLAGS[f.name].capitalize(), f.raised, f"{f.says[:1].upper()}{f.says[1:]}.") for f in card.flags]
    return sorted(lines, key=lambda line: not line.raised)


def pose_lines(card: Scorecard) -> list[PoseLine]:
    """Likeness pose by pose."""
    lines = []
    for pose, figures in card.poses.items():
        own = card.anchors.poses.get(pose)
        lines.append(
            PoseLine(
                pose[:1].upper() + pose[1:], figures.images, f"{figures.likeness:.0f}",
                _range(figures.likeness_interval, 0), f"{figures.second_likeness:.0f}",
                _range(figures.second_likeness_interval, 0),
                f"its own, {own.photos} photos" if own else "that of all poses",
            )
        )  # fmt: skip
    return lines


def judge_sentences(card: Scorecard) -> list[str]:
    """Which judge decides, whether the two agree, and what may not be sold."""
    said = [f"The {JUDGES[card.gating_judge]} decides about grade and promotion."]
    found = card.agreement
    if found and found.correlation is not None and found.correlation_interval:
        said.append(
            f"Over {found.images} pictures with a face the judges' similarities correlate with {found.correlation:.2f} "
            f"({_range(found.correlation_interval, 2)}, Spearman)."
        )
    bound = [JUDGES.get(name, name.replace("_", " ")) for name, text in card.licences.items() if _is_bound(text)]
    if bound:
        said.append(f"Weights for non-commercial use only: {', '.join(bound)}.")
    return said


def _is_bound(licence: str) -> bool:
    return "non-commercial" in licence.lower()


def judge_alarm(card: Scorecard) -> str:
    """What a disagreement of the judges means; empty where there is none."""
    found = card.agreement
    if not found or not found.disagree:
        return ""
    apart = f"The two judges disagree by {abs(found.difference):.0f} points"
    if found.alarm and found.conditioned:
        return (
            f"{apart}, and the generator was given the {JUDGES[found.conditioned]}'s embedding: believe the "
            f"{JUDGES[card.gating_judge]}, and look at the pictures."
        )
    return f"{apart}: look at the pictures before you believe either."


def beside_lines(card: Scorecard) -> list[BesideLine]:
    """Memorisation, diversity and skin: what likeness can be bought with."""
    lines = []
    if card.memorisation:
        m = card.memorisation
        share = f"{100 * m.share_interval.low:.0f}% to {100 * m.share_interval.high:.0f}%"
        lines.append(BesideLine("Copies of training photos", f"{m.share:.0%}", share, f"{m.base_share:.0%}", ""))
    if card.diversity:
        d = card.diversity
        lines += [
            _distance("Pictures of one prompt differ by (CLIP)", d.within, d.within_interval, d.base_within, None),
            _distance("All pictures differ by (CLIP)", d.across, None, None, d.real),
            _distance("Poses of one prompt differ by", d.pose_within, d.pose_within_interval, d.base_pose_within, None),
            _distance("All poses differ by", d.pose_across, None, None, d.pose_real),
        ]
    for name, z in (("Skin texture, spreads off the photos", card.texture_z), ("Skin tone, spreads", card.tone_z)):
        if z is not None:
            lines.append(BesideLine(name, f"{z:+.1f}".replace("-", "−"), "", "", "0"))
    return lines


def _distance(
    name: str, value: float | None, interval: Interval | None, base: float | None, real: float | None
) -> BesideLine:
    value_, base_, real_ = ("" if figure is None else f"{figure:.3f}" for figure in (value, base, real))
    return BesideLine(name, value_ or "–", _range(interval, 3) if interval else "", base_, real_)


def threshold_lines(calibration: Calibration | None) -> list[JudgeThreshold]:
    """Both judges' thresholds between this person's photos and other people; empty without a calibration."""
    if calibration is None:
        return []
    return [_threshold("Face pack", calibration.faces), _threshold("Second judge", calibration.second)]


def _threshold(name: str, judge: JudgeCalibration) -> JudgeThreshold:
    says = (
        f"{name}: the threshold {judge.threshold:.2f} refuses {_rate(judge.frr)} of this person's photos and lets "
        f"{_rate(judge.far)} of other people's faces pass."
    )
    return JudgeThreshold(name, says, draw_strip(judge.genuine, judge.impostor, judge.threshold, says))


def _rate(rate: Rate) -> str:
    if rate.rate is None:
        return "none, for want of any,"
    return f"{rate.count} of {rate.trials} ({100 * rate.low:.0f}% to {100 * rate.high:.0f}%)"


def _range(interval: Interval, digits: int) -> str:
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}".replace("-", "−")
