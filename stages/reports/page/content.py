"""What goes on the page.  Everything but scorecard, scores and comparison may be missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.contracts.calibration import Calibration
from stages.contracts.comparison import Comparison
from stages.contracts.manifest import Manifest
from stages.contracts.scorecard import Choice, Scorecard

Row = Mapping[str, Any]
"""A line of a table: text columns as they are, numbers as float, None where a field is empty."""


def interval_of(row: Row, name: str) -> tuple[float, float] | None:
    """The interval beside a figure: the columns of its name with _low and _high."""
    low, high = (row.get(f"{name}_{end}") for end in ("low", "high"))
    return (low, high) if isinstance(low, float) and isinstance(high, float) else None


@dataclass(frozen=True)
class Pair:
    """One prompt and seed under both versions: rows of per_image.csv and data URIs."""

    before: Row
    after: Row
    before_picture: str
    after_picture: str


@dataclass(frozen=True)
class Content:
    """What the page is made of; tables are empty, and pictures absent, where their files are."""

    card: Scorecard
    comparison: Comparison
    scores: Sequence[Row]  # per_image.csv, all sets
    loss: Sequence[Row] = ()
    checkpoints: Sequence[Row] = ()  # checkpoints.csv
    sweep: Sequence[Row] = ()  # sweep_summary.csv
    choice: Choice | None = None  # sweep_choice.json
    calibration: Calibration | None = None  # calibration.json
    manifest: Manifest | None = None
    pairs: Sequence[Pair] = ()
    no_pairs: str = "the baseline kept no pictures"  # why there are none
    pictures: Mapping[str, str] = field(default_factory=dict)  # file in per_image.csv -> data URI
    sweep_pictures: Mapping[int, Sequence[tuple[str, str]]] = field(default_factory=dict)  # cell -> (name, data URI)
    notes: Sequence[str] = ()  # what was left out of the file, a sentence each
