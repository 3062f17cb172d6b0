"""CSV tables: columns in order, floats rounded, the same rows the same bytes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages.runtime.files import write_text

DIGITS = 6


def write_table(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Write ``rows`` (mappings that have every column) as CSV with a header, atomically; floats get six decimals."""
    rounded = [{name: _rounded(row[name]) for name in columns} for row in rows]
    write_text(path, pd.DataFrame(rounded, columns=list(columns)).to_csv(index=False, lineterminator="\n"))


def _rounded(value: Any) -> Any:
    return round(float(value), DIGITS) + 0.0 if isinstance(value, float) else value  # + 0.0: no "-0.0"
