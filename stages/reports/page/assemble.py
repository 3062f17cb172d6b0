"""One file from templates, style sheet, script and content."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.reports.page import findings, views
from stages.reports.page.content import Content
from stages.reports.page.curves import checkpoint_charts, loss_chart
from stages.reports.page.gallery import ORDERS, cards, judged_by, pair_cards
from stages.reports.page.grid import describe_sweep
from stages.reports.page.words import show_number
from stages.reports.sweep import describe_choice

HERE = Path(__file__).parent
SCRIPTS = ("dom.js", "grid.js", "pictures.js", "start.js")  # one scope, in this order
MOST_CELLS = 300  # lines of the sweep's table
SECTIONS = (
    ("verdict", "Verdict"), ("likeness", "Likeness"), ("flags", "Flags"), ("scorecard", "Scorecard"),
    ("comparison", "Comparison"), ("curves", "Curves"), ("sweep", "Sweep"), ("pictures", "Pictures"),
    ("dataset", "Dataset"), ("origin", "Origin"),
)  # fmt: skip


def render_page(content: Content) -> str:
    """The page: the same content is the same text, and nothing in it asks for another file.

    Its Content-Security-Policy lets run only this style sheet and this script, and load nothing but data: pictures, so
    that neither a slip in a template nor a caption with HTML in it can reach out.
    """
    style, script = read_source("page.css"), "\n".join(map(read_source, SCRIPTS))
    page = open_templates().get_template("page.html").render(
        style=Markup(style), style_hash=hash_source(style), script=Markup(script), script_hash=hash_source(script),
        sections=SECTIONS, show_number=show_number, **_describe(content),
    )  # fmt: skip
    return page if page.endswith("\n") else page + "\n"


def _describe(content: Content) -> Mapping[str, Any]:
    """What the templates show."""
    return _describe_judgement(content) | _describe_evidence(content)


def _describe_judgement(content: Content) -> dict[str, Any]:
    card, comparison = content.card, content.comparison
    judges, labels = views.likeness_lines(card)
    lost, gained, others = pair_cards(content.pairs)
    return {
        "title": f"{card.dataset} {card.lora_version}: report", "card": card, "comparison": comparison,
        "headline": views.headline(comparison, card), "reason": views.reason(comparison),
        "tally": views.tally(comparison), "tiles": views.tiles(card), "alarms": views.find_alarms(card, comparison),
        "judges": judges, "ruler_labels": labels, "poses": findings.pose_lines(card),
        "flags": findings.flag_lines(card), "beside": findings.beside_lines(card),
        "judges_said": findings.judge_sentences(card),
        "thresholds_drawn": findings.threshold_lines(content.calibration), "figures": views.figures(content),
        "metrics": views.compared(comparison), "lost": lost, "gained": gained, "others": others,
        "no_pairs": content.no_pairs, "differences": views.differences(comparison),
    }  # fmt: skip


def _describe_evidence(content: Content) -> dict[str, Any]:
    card, judge, shown = content.card, judged_by(content.card), cards(content)
    dataset, warnings, advice = views.dataset_facts(content)
    return {
        "loss": loss_chart(content), "checkpoints": checkpoint_charts(content), "sweep": describe_sweep(content),
        "choice": describe_choice(content.choice) if content.choice else [], "most_cells": MOST_CELLS,
        "cards": shown, "cards_left": sum(row["set"] == "lora" for row in content.scores) - len(shown),
        "any_picture": any(one.pictures for one in shown), "orders": ORDERS,
        "judged_by": judge.removesuffix("_similarity"),
        "threshold": card.thresholds["second_pass" if judge == "second_similarity" else "face_pass"],
        "dataset": dataset, "warnings": warnings, "advice": advice, "origin": views.origin(card),
        "training": views.training(card), "notes": content.notes,
    }  # fmt: skip


def open_templates() -> Environment:
    """The templates of the pages."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"digits": _digits}
    return environment


def read_source(name: str) -> str:
    """A style sheet or script, fit to stand inside the page.

    Raises:
        ValueError: when it would end its own element.
    """
    text = (HERE / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"{name} would end its own element")
    return text


def hash_source(text: str) -> str:
    """sha256 as a Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")
