"""The sweep as data for the page's script: axes, cells, measures and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from stages.contracts.scorecard import Settings
from stages.reports.page.content import Content, Row
from stages.reports.page.words import SHARES, name_of

AXES = ("checkpoint", "guidance", "sampler", "strength", "mode", "base")
FIRST = ("similarity_mean", "second_similarity_mean", "adherence_mean", "pass_rate", "detection_rate")
NO_MEASURES = frozenset({"cell", "images", "lora", *AXES})
DIGITS = 4
MOST = 1000  # cells on the page


def describe_sweep(content: Content) -> dict[str, Any] | None:
    """Everything that the grid needs, or None where no cell was scored.

    A cell is {"n": number, "at": {axis: text}, "v": {measure: value}, "images": count, "is": [marks]}.
    """
    every = [row for row in content.sweep if row.get("cell") is not None]
    best_first = sorted(every, key=lambda row: (-(row.get("similarity_mean") or 0.0), row["cell"]))
    rows = sorted(best_first[:MOST], key=lambda row: row["cell"])
    if not rows:
        return None
    measures = [name for name in rows[0] if name not in NO_MEASURES and _is_measured(rows, name)]
    if not measures:
        return None
    measures.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    marks = find_marks(content.choice, rows)
    texts = {name: _texts(name, rows) for name in AXES if name in rows[0]}
    return {
        "left_out": len(every) - len(rows),
        "axes": [{"key": key, "name": name_of(key), "values": list(values.values())} for key, values in texts.items()],
        "measures": [{"key": m, "name": name_of(m), "share": m in SHARES} for m in measures],
        "cells": [_cell(row, measures, texts, marks) for row in rows],
        "pictures": {str(cell): list(shown) for cell, shown in content.sweep_pictures.items()},
        "threshold": content.card.thresholds.get("face_pass", 0.6),
    }


def find_marks(choice: Mapping[str, Any], rows: Sequence[Row]) -> dict[int, list[str]]:
    """Cell -> what sweep_choice.json says of it: chosen, and where the file tells, tied or confirmed.

    ``tied`` and ``confirmed`` may list numbers of cells, or settings.
    """
    named = {"chosen": [choice.get("best")], "tied": choice.get("tied"), "confirmed": choice.get("confirmed")}
    marks: dict[int, list[str]] = {}
    for mark, listed in named.items():
        for one in listed if isinstance(listed, list) else []:
            for row in rows:
                if _is_cell(one, row):
                    marks.setdefault(int(row["cell"]), []).append(mark)
    return marks


def _is_cell(one: Any, row: Row) -> bool:
    if isinstance(one, dict):
        keys = [key for key in Settings.model_fields if key in one]
        return bool(keys) and all(one[key] == row.get(key) for key in keys)
    return isinstance(one, int | float) and one == row["cell"]


def _is_measured(rows: Sequence[Row], name: str) -> bool:
    return all(row.get(name) is None or isinstance(row[name], float) for row in rows) and any(
        row.get(name) is not None for row in rows
    )


def _texts(axis: str, rows: Sequence[Row]) -> dict[Any, str]:
    """Value -> how it is written, in order; a base model goes by its folder's name where that is enough."""
    values = sorted({row[axis] for row in rows if row[axis] is not None})
    texts = {value: f"{value:g}" if isinstance(value, float) else str(value) for value in values}
    names = {value: PurePosixPath(text).name for value, text in texts.items()}
    return names if axis == "base" and len(set(names.values())) == len(names) else texts


def _cell(
    row: Row, measures: Sequence[str], texts: Mapping[str, Mapping[Any, str]], marks: Mapping[int, list[str]]
) -> dict[str, Any]:
    number = int(row["cell"])
    return {
        "n": number,
        "at": {axis: text[row[axis]] for axis, text in texts.items() if row[axis] is not None},
        "v": {name: round(row[name], DIGITS) for name in measures if row.get(name) is not None},
        "images": int(row.get("images") or 0),
        "is": marks.get(number, []),
    }
