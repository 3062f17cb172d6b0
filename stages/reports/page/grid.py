"""The sweep as data for the page's script: axes, cells, measures and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from stages.reports.page.content import Content, Row, interval_of
from stages.reports.page.words import SHARES, name_of

AXES = ("checkpoint", "guidance", "sampler", "strength", "mode", "base")
FIRST = (
    "similarity_mean", "confirm_similarity_mean", "second_similarity_mean", "adherence_mean", "pass_rate",
    "detection_rate",
)  # fmt: skip
MARKS = ("chosen", "tied", "cheapest")
NO_MEASURES = frozenset({"cell", "images", "confirm_images", "lora", "leader", "rank", *MARKS, *AXES})
WITH_LINE = frozenset({"similarity_mean", "confirm_similarity_mean"})  # measures that thresholds.face_pass is for
DIGITS = 4
MOST = 1000  # cells on the page


def describe_sweep(content: Content) -> dict[str, Any] | None:
    """Everything that the grid needs, or None where no cell was scored.

    A cell is {"n": number, "at": {axis: text}, "v": {measure: value}, "r": {measure: [low, high]}, "images": count,
    "is": [marks]}.
    """
    best_first = sorted(content.sweep, key=lambda row: row["rank"])
    rows = sorted(best_first[:MOST], key=lambda row: row["cell"])
    if not rows:
        return None
    measures = [name for name in rows[0] if _is_measure(name) and _is_measured(rows, name)]
    if not measures:
        return None
    measures.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    texts = {name: _texts(name, rows) for name in AXES if name in rows[0]}
    line = content.card.thresholds.get("face_pass", 0.6)
    return {
        "left_out": len(best_first) - len(rows),
        "axes": [{"key": key, "name": name_of(key), "values": list(values.values())} for key, values in texts.items()],
        "measures": [
            {"key": m, "name": name_of(m), "share": m in SHARES, "line": line if m in WITH_LINE else None}
            for m in measures
        ],
        "cells": [_cell(row, measures, texts) for row in rows],
        "pictures": {str(cell): list(shown) for cell, shown in content.sweep_pictures.items()},
    }


def _is_measure(name: str) -> bool:
    return name not in NO_MEASURES and not name.endswith(("_low", "_high"))


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


def _cell(row: Row, measures: Sequence[str], texts: Mapping[str, Mapping[Any, str]]) -> dict[str, Any]:
    ranges = {name: interval_of(row, name) for name in measures}
    return {
        "n": int(row["cell"]),
        "at": {axis: text[row[axis]] for axis, text in texts.items() if row[axis] is not None},
        "v": {name: round(row[name], DIGITS) for name in measures if row.get(name) is not None},
        "r": {name: [round(end, DIGITS) for end in ends] for name, ends in ranges.items() if ends},
        "images": int((row.get("images") or 0) + (row.get("confirm_images") or 0)),
        "is": [mark for mark in MARKS if row.get(mark)],
    }
