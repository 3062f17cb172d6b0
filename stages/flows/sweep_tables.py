"""What a sweep found, as rows of its tables and as its choice."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.contracts.paths import LOSS, SWEEP_IMAGES
from stages.contracts.scorecard import Cell, Choice, Confirmation, Tied
from stages.contracts.settings import Sweep
from stages.flows.scoring import Score
from stages.flows.sweeping import Instance, Outcome, Sheet
from stages.measures.overfitting import find_overfitting, find_turn
from stages.measures.selection import TIED_LEVEL, mean_interval
from stages.runtime.errors import UserError

FIGURES = ("similarity_mean", "similarity_mean_low", "similarity_mean_high", "similarity_sd", "pass_rate",
           "detection_rate", "second_similarity_mean", "adherence_mean")  # fmt: skip


def figures(scores: Sequence[Score], face_pass: float) -> dict[str, Any]:
    """Means over pictures; one without a face counts as similarity 0.  None for every figure where there is none.

    ``face_pass`` is the raw cosine from which on a picture passes; the interval is Student's, of 95%.
    """
    if not scores:
        return {"images": 0} | dict.fromkeys(FIGURES)
    similarity = np.array([score.similarity for score in scores])
    low, high = mean_interval(similarity)
    return {
        "images": len(scores), "similarity_mean": float(similarity.mean()), "similarity_mean_low": low,
        "similarity_mean_high": high, "similarity_sd": float(similarity.std(ddof=1)) if len(scores) > 1 else 0.0,
        "pass_rate": float(np.mean([score.passes(face_pass) for score in scores])),
        "detection_rate": float(np.mean([score.face_found for score in scores])),
        "second_similarity_mean": float(np.mean([score.second_similarity for score in scores])),
        "adherence_mean": float(np.mean([score.adherence for score in scores])),
    }  # fmt: skip


def _scores(sheet: Sheet, cell: int, instances: Sequence[Instance]) -> list[Score]:
    return [sheet.scores[cell][i] for i in instances if i in sheet.scores[cell]]


def summarise(sheet: Sheet, outcome: Outcome, face_pass: float) -> list[dict[str, Any]]:
    """A row per cell: its settings, its figures on the first seeds and, under ``confirm_``, on the fresh ones.

    Of a cell that left a race early ``similarity_mean`` is what its pairs with the leader let expect of all pictures;
    its other figures are of the pictures that were drawn.
    """
    rows = []
    p_worse = dict(zip(outcome.leaders, outcome.decision.p_worse, strict=True)) if outcome.decision else {}
    for number, cell in enumerate(sheet.cells):
        first = figures(_scores(sheet, number, sheet.first), face_pass)
        again = figures(_scores(sheet, number, sheet.fresh), face_pass)
        rows.append(
            {"cell": number} | cell.model_dump() | first | {"similarity_mean": outcome.means[number]}
            | {f"confirm_{name}": value for name, value in again.items()}
            | {"p_worse": p_worse.get(number), "leader": int(number in outcome.leaders),
               "tied": int(number in outcome.tied), "cheapest": int(number == outcome.tied[0]),
               "chosen": int(number == outcome.chosen), "rank": outcome.ranked.index(number) + 1}
        )  # fmt: skip
    return rows


def _cell(row: dict[str, Any], prefix: str = "") -> Cell:
    """A cell with its figures of the first seeds, or of the fresh ones (``confirm_``)."""
    settings = {name: row[name] for name in Cell.model_fields if name in row}
    measured = {name: row[prefix + name] for name in ("images", "similarity_mean", "pass_rate", "detection_rate")}
    return Cell(**settings | measured)


def _tied(rows: Sequence[dict[str, Any]], outcome: Outcome) -> tuple[Tied, ...]:
    return tuple(
        Tied(**_cell(rows[cell], "confirm_").model_dump(), cell=cell, p_worse=rows[cell]["p_worse"])
        for cell in outcome.tied
    )


def make_choice(
    rows: Sequence[dict[str, Any]], sheet: Sheet, outcome: Outcome, sweep: Sweep, overfits_from: int | None
) -> Choice:
    """The cell to use and how it was found; ``rows`` are those of ``summarise``."""
    confirmation = None
    if outcome.decision is not None:
        confirmation = Confirmation(
            naive=_cell(rows[outcome.ranked[0]]), naive_again=_cell(rows[outcome.ranked[0]], "confirm_"),
            left_out=outcome.left_out, images=len(sheet.fresh), level=TIED_LEVEL,
        )  # fmt: skip
    return Choice(
        best=_cell(rows[outcome.chosen], "confirm_" if confirmation else ""), worst=_cell(rows[outcome.ranked[-1]]),
        cells=len(rows), images=sum(len(scores) for scores in sheet.scores), strategy=sweep.strategy,
        tied=_tied(rows, outcome) if confirmation else (), confirmed=outcome.leaders if confirmation else (),
        confirmation=confirmation, overfits_from=overfits_from,
    )  # fmt: skip


def read_holdout_losses(path: Path = LOSS) -> dict[int, float]:
    """Holdout loss by training step, ascending; empty where none was measured.

    Raises:
        UserError: when there is no table of losses.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            table = list(csv.DictReader(stream))
    except FileNotFoundError:
        raise UserError(path, "not found", "run `dvc repro train`") from None
    return {int(row["step"]): float(row["holdout_loss"]) for row in table if row.get("holdout_loss")}


def judged_instances(sheet: Sheet, outcome: Outcome) -> list[Instance]:
    """The pictures that the curve of checkpoints is drawn from: the fresh ones, if there are any."""
    return sheet.fresh if outcome.decision else sheet.first


def trace_checkpoints(
    sheet: Sheet, outcome: Outcome, losses: dict[int, float], nearest: dict[int, float], face_pass: float
) -> tuple[list[dict[str, Any]], int | None]:
    """The curve of checkpoints, a row each, and the step from which on the training overfits, if it does.

    Every checkpoint is shown with the settings that suited it best on the first seeds; its figures are of the fresh
    ones, the same pictures for all (of the first ones where a sweep of one cell drew no others).

    Args:
        losses: holdout loss by step.
        nearest: by checkpoint, how close its pictures come to training photos.
    """
    instances = judged_instances(sheet, outcome)
    likeness_KM = sheet.measured(list(outcome.curve.values()), instances)
    overfits_from = find_overfitting(list(outcome.curve), likeness_KM, find_turn(list(losses), list(losses.values())))
    used = sheet.cells[outcome.chosen].checkpoint
    rows = []
    for step, number in outcome.curve.items():
        loss = float(np.interp(step, list(losses), list(losses.values()))) if losses else None
        rows.append(
            sheet.cells[number].model_dump(exclude={"lora"})
            | figures(_scores(sheet, number, instances), face_pass)
            | {"nearest_photo_mean": nearest[step], "holdout_loss": loss, "recommended": int(step == used),
               "overfits": int(overfits_from is not None and step > overfits_from)}
        )  # fmt: skip
    return rows, overfits_from


def list_pictures(sheet: Sheet) -> list[dict[str, Any]]:
    """A row per picture that was drawn: cell by cell, the first seeds, then the fresh ones."""
    return [
        {
            "cell": number, "seeds": "first" if i in first else "fresh", "prompt_index": i[0], "seed": i[1],
            "file": sheet.shots[number][i].path.relative_to(SWEEP_IMAGES).as_posix(),
            "face_found": int(score.face_found), "similarity": score.similarity,
            "second_similarity": score.second_similarity, "adherence": score.adherence,
        }
        for first in [set(sheet.first)]
        for number, scores in enumerate(sheet.scores)
        for i in (*sheet.first, *sheet.fresh)
        if (score := scores.get(i)) is not None
    ]  # fmt: skip
