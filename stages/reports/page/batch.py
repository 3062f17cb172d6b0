"""batch_report.html: one file that shows what a batch came to, without a script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stages.contracts.batches import APPROVED, REJECTED, SCORES, Batch, index_of
from stages.contracts.production import PictureRecord
from stages.reports.batch import (
    judged_by,
    missed,
    name_score,
    prompt_rows,
    rank,
    say_cost_each,
    say_duration,
    say_share,
    say_time_each,
    settings_rows,
)
from stages.reports.page.assemble import hash_source, open_templates, read_source
from stages.reports.page.thumbnails import fill_budget
from stages.reports.page.words import show_number

SHOWN = 12  # pictures of each kind
BUDGET = 2_000_000  # characters of all pictures
SECTIONS = (
    ("outcome", "Outcome"), ("best", "Best"), ("weakest", "Weakest"), ("rejected", "Rejected"), ("prompts", "Prompts"),
    ("settings", "Settings"),
)  # fmt: skip


def render_batch_page(batch: Batch, records: Sequence[PictureRecord], folder: Path) -> str:
    """The page: it asks for no other file, and its Content-Security-Policy lets nothing run."""
    score = judged_by(batch)
    approved = rank([record for record in records if record.approved], score)
    best, weakest = approved[:SHOWN], approved[SHOWN:][::-1][:SHOWN]
    worst = rank([record for record in records if not record.approved], score)[::-1][:SHOWN]
    places = {_place(record, folder): record.file for record in (*best, *worst, *weakest)}
    uris = {places[place]: uri for place, uri in fill_budget(list(places), BUDGET, "batch, small pictures")}
    style = read_source("page.css") + read_source("batch.css")

    def show(some: Sequence[PictureRecord]) -> list[dict[str, Any]]:
        return [_card(record, score, uris.get(record.file, "")) for record in some]

    means = [(name, batch.means[name]) for name in SCORES if name in batch.means]
    sections = [section for section in SECTIONS if section[0] != "weakest" or weakest]
    page = open_templates().get_template("batch.html").render(
        style=Markup(style), style_hash=hash_source(style), sections=sections, batch=batch, missed=missed(batch),
        title=f"{batch.dataset} {batch.version}: batch {batch.id}", tiles=_tiles(batch, score), best=show(best),
        weakest=show(weakest), worst=show(worst), prompts=prompt_rows(batch, records), settings=settings_rows(batch),
        judge="second judge" if score == "second_similarity" else "face pack",
        reasons=sorted(batch.reasons.items(), key=lambda item: (-item[1], item)),
        thresholds=list(_flat(batch.thresholds)), means=[(name_score(n), show_number(n, v)) for n, v in means],
    )  # fmt: skip
    return page if page.endswith("\n") else page + "\n"


def _place(record: PictureRecord, folder: Path) -> Path:
    return folder / (APPROVED if record.approved else REJECTED) / record.file


def _card(record: PictureRecord, score: str, uri: str) -> dict[str, Any]:
    scores = [(name_score(name), show_number(name, getattr(record.scores, name))) for name in SCORES]
    parted = [reason.partition(": ") for reason in record.reasons]
    return {
        "uri": uri, "prompt": record.origin.text, "seed": record.origin.seed,
        "prompt_name": f"p{index_of(record.file):02d}",
        "score": show_number(score, getattr(record.scores, score)), "scores": scores, "file": record.file,
        "reasons": [(rule, rest) for rule, _, rest in parted],
    }  # fmt: skip


def _tiles(batch: Batch, score: str) -> list[tuple[str, str, str]]:
    """Name, value and what it is of."""
    likeness = show_number(score, batch.means.get(score))
    return [
        ("Approved", str(batch.accepted), f"of {batch.generated} pictures"),
        ("Acceptance rate", say_share(batch), f"{batch.rejected} rejected"),
        (name_score(score), likeness, "mean of the approved"),
        (name_score("adherence"), show_number("adherence", batch.means.get("adherence")), "mean of the approved"),
        ("Time per accepted", say_time_each(batch), f"{say_duration(batch.seconds)} in all"),
        ("Cost per accepted", "–" if batch.usd_per_accepted is None else say_cost_each(batch),
         say_cost_each(batch) if batch.usd_per_accepted is None else "from the ledger of paid time"),
    ]  # fmt: skip


def _flat(values: Mapping[str, Any], before: str = "thresholds") -> Any:
    """Nested settings as dotted names with their values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}.{key}")
        else:
            yield f"{before}.{key}", value
