"""Gather what the report page shows: tables, pictures made small, and sentences for what is not there."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from stages.contracts.calibration import read_calibration
from stages.contracts.comparison import Comparison
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import (
    CALIBRATION,
    CHECKPOINTS,
    EVAL_IMAGES,
    LOSS,
    MANIFEST,
    PER_IMAGE,
    SWEEP_CHOICE,
    SWEEP_IMAGES,
    SWEEP_PER_IMAGE,
    SWEEP_SUMMARY,
)
from stages.contracts.scorecard import Scorecard, read_choice
from stages.contracts.version_pictures import read_version_pictures
from stages.reports.page.content import Content, Pair, Row
from stages.reports.page.gallery import BESIDE, MOST, judged_by
from stages.reports.page.thumbnails import fill_budget
from stages.runtime.errors import UserError

TEXTS = frozenset({"set", "prompt", "file", "base", "mode", "lora", "sampler", "pose", "nearest_photo", "seeds"})
# Characters of data URIs; with them the page stays under 5 MB.
PAIR_CHARACTERS, EVAL_CHARACTERS, ALL_CHARACTERS = 800_000, 1_700_000, 3_500_000


def gather_content(card: Scorecard, comparison: Comparison, baseline: Path | None) -> Content:
    """What the page of this run shows.

    Args:
        card: this run's scorecard.
        comparison: of this run with the baseline.
        baseline: the baseline's folder in metrics/versions, or None.

    Raises:
        UserError: when a table or a picture is there but cannot be read.
    """
    scores = read_rows(PER_IMAGE)
    sweep = read_rows(SWEEP_SUMMARY)
    pairs, no_pairs, spent = _pairs(scores, baseline)
    pictures = dict(fill_budget(_judged(scores, judged_by(card)), EVAL_CHARACTERS))
    spent += sum(map(len, pictures.values()))
    drawn = _sweep_pictures(sweep)
    cells: dict[int, list[tuple[str, str]]] = {}
    for path, uri in fill_budget(list(drawn), ALL_CHARACTERS - spent):
        cell, says = drawn[path]
        cells.setdefault(cell, []).append((says, uri))
    shown = [uri for some in cells.values() for _, uri in some]
    spent += sum(map(len, shown))
    count = 2 * len(pairs) + len(pictures) + len(shown)
    return Content(
        card=card, comparison=comparison, scores=scores, loss=read_rows(LOSS), checkpoints=read_rows(CHECKPOINTS),
        sweep=sweep, choice=read_choice() if SWEEP_CHOICE.is_file() else None,
        calibration=read_calibration() if CALIBRATION.is_file() else None,
        manifest=read_manifest() if MANIFEST.is_file() else None, pairs=pairs, no_pairs=no_pairs,
        pictures={path.relative_to(EVAL_IMAGES).as_posix(): uri for path, uri in pictures.items()},
        sweep_pictures=cells, notes=_notes(count, spent, len(drawn) - len(shown)),
    )  # fmt: skip


def _judged(scores: Sequence[Row], judge: str) -> list[Path]:
    """The pictures of eval that are here, the least alike under ``judge`` first, as many as the page shows."""
    by_place = {(row["set"], row["prompt_index"], row["seed"]): str(row["file"]) for row in scores}
    ours = sorted((row for row in scores if row["set"] == "lora"), key=lambda row: (row[judge], row["file"]))
    wanted = [by_place.get((name, row["prompt_index"], row["seed"])) for row in ours[:MOST] for name, _ in BESIDE]
    return [EVAL_IMAGES / file for file in wanted if file and (EVAL_IMAGES / file).is_file()]


def _pairs(scores: Sequence[Row], baseline: Path | None) -> tuple[list[Pair], str, int]:
    """Pictures of the same prompt and seed under both versions, why there are none, and the characters they take."""
    if baseline is None:
        return [], "there is no baseline", 0
    kept = read_version_pictures(baseline)
    if not kept:
        return [], f"{baseline.as_posix()} keeps no pictures with an index (pictures.csv) of prompts and seeds", 0
    before = {_place(row): row for row in read_rows(baseline / PER_IMAGE.name) if row["set"] == "lora"}
    after = {_place(row): row for row in scores if row["set"] == "lora"}
    files = {
        place: (path, EVAL_IMAGES / str(after[place]["file"]))
        for place, path in sorted(kept.items())
        if place in before and place in after and path.is_file()
    }
    both = {place: some for place, some in files.items() if some[1].is_file()}
    uris = dict(fill_budget([path for some in both.values() for path in some], PAIR_CHARACTERS))
    pairs = [
        Pair(before[place], after[place], uris[old], uris[new])
        for place, (old, new) in both.items()
        if old in uris and new in uris
    ]
    gone, strangers = (
        "data/eval was not here when the page was made (dvc pull fetches it)",
        "no prompt and seed in common",
    )
    return pairs, gone if files else strangers, sum(map(len, uris.values()))


def _place(row: Row) -> tuple[int, int]:
    return int(row["prompt_index"]), int(row["seed"])


def _sweep_pictures(sweep: Sequence[Row]) -> dict[Path, tuple[int, str]]:
    """The sweep's pictures that are here, those of the best cells first: file -> cell and what the picture is."""
    ranks = {row["cell"]: row["rank"] for row in sweep}
    rows = sorted((row for row in read_rows(SWEEP_PER_IMAGE) if row["cell"] in ranks), key=lambda r: ranks[r["cell"]])
    found = {}
    for row in rows:
        says = f"prompt {row['prompt_index'] + 1:g}, seed {row['seed']:g}, similarity {row['similarity']:.3f}"
        found[SWEEP_IMAGES / str(row["file"])] = (int(row["cell"]), says)
    return {path: told for path, told in found.items() if path.is_file()}


def _notes(count: int, spent: int, left_out: int) -> list[str]:
    notes = [
        f"{count} pictures are in this file, {spent / 1e6:.1f} MB of small copies; the originals lie in data/eval, "
        "data/sweep and metrics/versions."
    ]
    if left_out:
        notes.append(f"{left_out} pictures of the sweep, of its least alike cells, did not fit into this file.")
    return notes


def read_rows(path: Path) -> list[Row]:
    """A table: numbers as float, None where a field is empty or not finite, text where it is text; [] without a file.

    Raises:
        UserError: when it is not a table in UTF-8.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, restkey="", strict=True))
        if any("" in row for row in rows):
            raise csv.Error("a line has more fields than the first")
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(path, f"not a table ({error})", "make it again with `dvc repro`") from None
    return [{name: _value(name, text) for name, text in row.items()} for row in rows]


def _value(name: str, text: str | None) -> str | float | None:
    if name in TEXTS or not text:
        return text or None
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else None
