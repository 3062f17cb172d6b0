"""What the templates of verdict, likeness, scorecard, comparison and origin show: names, texts and drawings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from markupsafe import Markup

from stages.contracts.comparison import Comparison, MetricComparison, Verdict
from stages.contracts.scorecard import Anchors, Interval, Scorecard
from stages.reports.findings import FLAGS, name_part
from stages.reports.page.charts import Scale, draw_bar, draw_whisker
from stages.reports.page.content import Content
from stages.reports.page.findings import judge_alarm
from stages.reports.page.words import cut, name_of, show_interval, show_number
from stages.reports.scorecard import Figure, list_figures

CUT = 4.0  # margins; intervals that reach farther are cut
LONGEST = 400  # characters of a setting, a note or a prompt


def headline(comparison: Comparison, card: Scorecard) -> str:
    """The recommendation and the grade in one line."""
    ours, theirs = comparison.candidate.name, comparison.baseline.name if comparison.baseline else ""
    grade = f"grade\u00a0{card.overall_grade}, likeness {card.gate_likeness()[0]:.0f} of 100"
    if not theirs:
        return f"{ours}: {grade}, nothing to compare it with"
    match comparison.recommendation.action:
        case "adopt":
            return f"Adopt {ours} over {theirs}: {grade}"
        case "keep":
            return f"Keep {theirs}: {ours} has {grade}"
        case _:
            return f"Undecided between {theirs} and {ours}: {ours} has {grade}"


def reason(comparison: Comparison) -> str:
    """The reason as prose: metrics' names without underscores."""
    return re.sub(r"(?<=[a-z])_(?=[a-z])", " ", comparison.recommendation.reason)


def tally(comparison: Comparison) -> list[tuple[str, int]]:
    """How many metrics came out how, the loudest verdict first; empty without a baseline."""
    said = [metric.verdict for metric in comparison.metrics]
    return [(verdict, said.count(verdict)) for verdict in get_args(Verdict) if verdict in said]


def find_alarms(card: Scorecard, comparison: Comparison) -> list[str]:
    """What a reader must know before believing the rest."""
    alarms = [f"{FLAGS[flag.name].capitalize()}: {flag.says}." for flag in card.raised_flags()]
    alarms += [said for said in (judge_alarm(card),) if said]
    if comparison.baseline and comparison.regressed_guarded():
        worse = ", ".join(name_of(metric).lower() for metric in comparison.regressed_guarded())
        alarms.append(f"Worse than {comparison.baseline.name} on what is guarded: {worse}.")
    return [*alarms, *card.warnings]


def tiles(card: Scorecard) -> list[tuple[str, str, str]]:
    """The figures to take away: name, value, what to hold it against."""
    found = round(card.face_detection_rate * card.images_evaluated)
    asked = card.thresholds.get("realism")
    decides = {"faces": "", "second": ""} | {card.gating_judge: ", decides"}
    return [
        (
            "Likeness, face pack",
            f"{card.likeness:.0f}",
            f"of 100 ({_around(card.likeness_interval)}){decides['faces']}",
        ),
        (
            "Likeness, second judge",
            f"{card.second_likeness:.0f}",
            f"of 100 ({_around(card.second_likeness_interval)}){decides['second']}",
        ),
        ("Prior preservation", f"{card.prior_preservation:.0f}", "of 100: the class word alone is somebody else"),
        ("Prompt adherence", f"{card.prompt_adherence_mean:.3f}", f"base model {card.base_prompt_adherence_mean:.3f}"),
        ("Skin realism", f"{card.skin_realism_mean:.2f}", f"asked for {asked:.2f}" if asked is not None else ""),
        ("Faces found", f"{found}", f"in {card.images_evaluated} pictures"),
    ]


def _around(interval: Interval) -> str:
    return f"{interval.low:.0f} to {interval.high:.0f}".replace("-", "−")


@dataclass(frozen=True)
class Judge:
    """One judge's line on the ruler."""

    name: str
    value: str
    interval: str
    ends: str
    bar: Markup


def likeness_lines(card: Scorecard) -> tuple[list[Judge], list[tuple[str, str]]]:
    """A line for each judge, and the labels of the scale with their places."""
    read = (
        ("Face pack", "first", card.likeness, card.likeness_interval, card.anchors),
        ("Second judge", "second", card.second_likeness, card.second_likeness_interval, card.second_anchors),
    )
    ends = [end for _, _, _, interval, _ in read for end in (interval.low, interval.high)]
    scale = Scale(min(-8.0, *ends) - 2, max(112.0, *ends) + 2)
    labels = [(scale.percent(0), "0 base model"), (scale.percent(100), "100 real photos")]
    return [_judge(*line, scale) for line in read], labels


def _judge(name: str, kind: str, value: float, interval: Interval, anchors: Anchors, scale: Scale) -> Judge:
    around = _around(interval)
    says = f"{name}: likeness {value:.0f} of 100, 95% interval {around}"
    return Judge(
        name, f"{value:.0f}".replace("-", "−"), around,
        f"base model at raw cosine {anchors.base:.3f}, real photos at {anchors.real:.3f}",
        draw_bar(value, interval.low, interval.high, scale, kind, says),
    )  # fmt: skip


def figures(content: Content) -> list[Figure]:
    """The scorecard's lines; none where the base model's pictures are not in the table."""
    rows = [dict(row) for row in content.scores]
    return list_figures(content.card, rows) if any(row["set"] == "base" for row in rows) else []


@dataclass(frozen=True)
class Metric:
    """One line of the comparison."""

    name: str
    guarded: bool
    baseline: str
    candidate: str
    delta: str
    interval: str
    p_adjusted: str
    verdict: str
    hint: str
    whisker: Markup


def compared(comparison: Comparison) -> list[Metric]:
    """Every metric with its drawing; all that have a margin share one axis, whose unit is the margin."""
    reach = [
        max(abs(m.interval.low), abs(m.interval.high)) / m.margin for m in comparison.metrics if m.interval and m.margin
    ]
    cut_at = min(CUT, 1.1 * max([1.5, *reach]))
    return [_compared(metric, cut_at) for metric in comparison.metrics]


def _compared(m: MetricComparison, cut_at: float) -> Metric:
    verdict = m.verdict or ""
    interval = show_interval(m.metric, m.interval.low, m.interval.high, "+") if m.interval else ""
    whisker = Markup("")
    if m.interval and m.delta is not None:
        half = cut_at * m.margin or 1.2 * max(abs(m.interval.low), abs(m.interval.high)) or 1.0
        says = f"{name_of(m.metric)}: difference {show_number(m.metric, m.delta, '+')}, {interval}, {verdict}"
        ends = (m.delta, m.interval.low, m.interval.high)
        whisker = draw_whisker(*ends, Scale(-half, half), m.margin or None, verdict.lower(), says)
    return Metric(
        name_of(m.metric), m.guarded, show_number(m.metric, m.baseline), show_number(m.metric, m.candidate),
        show_number(m.metric, m.delta, "+"), interval, "" if m.p_adjusted is None else f"{m.p_adjusted:.3f}",
        verdict, _hint(m), whisker,
    )  # fmt: skip


def _hint(m: MetricComparison) -> str:
    """What would settle an open question, or how small a difference would have been seen."""
    if m.more_images is not None:
        return f"about {m.more_images} more pictures would settle it"
    if m.detectable is not None:
        return f"differences from {show_number(m.metric, m.detectable)} on would have been seen"
    return ""


def differences(comparison: Comparison) -> list[tuple[str, str, str]]:
    """The settings in which the two versions differ."""
    return [(d.key, _plain(d.baseline), _plain(d.candidate)) for d in comparison.config_differences]


def origin(card: Scorecard) -> list[tuple[str, str]]:
    """What the figures rest on."""
    best = card.best_config
    licences = [(f"licence of {name_part(name)}", text) for name, text in card.licences.items()]
    notes = [("notes", cut(card.notes, 5 * LONGEST))] if card.notes else []
    return [
        ("run", card.run_id), ("protocol", card.protocol), ("LoRA sha256", card.lora_sha256),
        ("LoRA file", best.lora), ("base model", best.base), ("dataset", card.dataset),
        ("manifest sha256", card.dataset_manifest_sha256),
        *([("the LoRA was trained on", card.lora_dataset)] if card.comes_from_elsewhere else []), *licences, *notes,
    ]  # fmt: skip


def training(card: Scorecard) -> list[tuple[str, str]]:
    """The recipe, as the LoRA's header tells it."""
    return [(key, _plain(value)) for key, value in sorted(card.training_params.items())]


def _plain(value: Any) -> str:
    return "–" if value is None else cut(f"{value:.6g}" if isinstance(value, float) else str(value), LONGEST)


def dataset_facts(content: Content) -> tuple[str, Sequence[str], Sequence[str]]:
    """The dataset in a sentence, its warnings and what to add; empty where there is no manifest."""
    if content.manifest is None:
        return "", (), ()
    s = content.manifest.summary
    moments = f", {len(s.moments)} groups of shots of one moment" if s.moments else ""
    said = (
        f"{s.total_images} photos: {s.train_images} to train on, {s.holdout_images} held out as references; "
        f"{s.unique_captions} different captions, {len(s.duplicates)} groups of near-duplicates{moments}."
    )
    return said, [cut(warning, LONGEST) for warning in s.warnings], [cut(one, LONGEST) for one in s.advice]
