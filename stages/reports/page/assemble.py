"""One file from templates, style sheet, script and content."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.reports.page import views
from stages.reports.page.content import Content
from stages.reports.page.curves import checkpoint_charts, loss_chart
from stages.reports.page.gallery import cards, pair_cards
from stages.reports.page.grid import describe_sweep
from stages.reports.page.words import show_number

HERE = Path(__file__).parent
SCRIPTS = ("dom.js", "grid.js", "pictures.js", "start.js")  # one scope, in this order
MOST_CELLS = 300  # lines of the sweep's table
SECTIONS = (
    ("verdict", "Verdict"), ("likeness", "Likeness"), ("scorecard", "Scorecard"), ("comparison", "Comparison"),
    ("curves", "Curves"), ("sweep", "Sweep"), ("pictures", "Pictures"), ("dataset", "Dataset"), ("origin", "Origin"),
)  # fmt: skip


def render_page(content: Content) -> str:
    """The page: the same content is the same text, and nothing in it asks for another file.

    Its Content-Security-Policy lets run only this style sheet and this script, and load nothing but data: pictures, so
    that neither a slip in a template nor a caption with HTML in it can reach out.
    """
    style, script = _read("page.css"), "\n".join(map(_read, SCRIPTS))
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"digits": _digits}
    page = environment.get_template("page.html").render(
        style=Markup(style), style_hash=_hash(style), script=Markup(script), script_hash=_hash(script),
        sections=SECTIONS, show_number=show_number, **_describe(content),
    )  # fmt: skip
    return page if page.endswith("\n") else page + "\n"


def _describe(content: Content) -> Mapping[str, Any]:
    card, comparison = content.card, content.comparison
    judges, labels = views.likeness_lines(card)
    checkpoints, checkpoints_note = checkpoint_charts(content)
    lost, gained, others = pair_cards(content.pairs)
    shown = cards(content)
    dataset, warnings = views.dataset_facts(content)
    return {
        "title": f"{card.dataset} {card.lora_version}: report", "card": card, "comparison": comparison,
        "headline": views.headline(comparison, card), "reason": views.reason(comparison), "tiles": views.tiles(card),
        "tally": views.tally(comparison),
        "alarms": views.find_alarms(card, comparison), "judges": judges, "ruler_labels": labels,
        "figures": views.figures(content), "metrics": views.compared(comparison), "lost": lost, "gained": gained,
        "others": others, "no_pairs": content.no_pairs, "differences": views.differences(comparison),
        "loss": loss_chart(content), "checkpoints": checkpoints, "checkpoints_note": checkpoints_note,
        "sweep": describe_sweep(content), "most_cells": MOST_CELLS, "cards": shown,
        "cards_left": sum(row["set"] == "lora" for row in content.scores) - len(shown),
        "any_picture": any(one.pictures for one in shown), "threshold": card.thresholds.get("face_pass", 0.6),
        "dataset": dataset, "warnings": warnings, "origin": views.origin(card), "training": views.training(card),
        "notes": content.notes,
    }  # fmt: skip


def _read(name: str) -> str:
    text = (HERE / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"{name} would end its own element")
    return text


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−")
