"""docs/speed.md's table is what the recorded rows say."""

import json
from pathlib import Path
from typing import Any

from bench import page


def row(ratio: float, case: str = "jpeg alone", aim: float | None = 3.0) -> dict[str, Any]:
    figures = {"case": case, "ratio": ratio, "interval": [ratio - 0.1, ratio + 0.1], "aim": aim, "ours_s": 1.0,
               "peer_s": ratio, "work": 5000, "unit": "photos"}  # fmt: skip
    machine = {"system": "Linux", "cpu": "CPU", "cores": 2, "gpus": []}
    return {"command": "python -m bench manifest", "date": "2026-01-02", "machine": machine, "figures": figures}


def test_the_newest_row_of_each_case_is_shown(tmp_path: Path) -> None:
    rows = [row(2.5), row(1.5, "png alone", None), row(3.25), {"figures": {"clients": 3}}]
    (tmp_path / "manifest.json").write_text(json.dumps(rows))
    table = page.render_table(page.newest(tmp_path))
    assert "| manifest | jpeg alone | 5,000 photos | 1.00 s | 3.25 s | 3.25 | 3.15 to 3.35 | 3 met |" in table
    assert "| manifest | png alone | 5,000 photos | 1.00 s | 1.50 s | 1.50 | 1.40 to 1.60 |  |" in table
    assert "2.50" not in table
    assert table.endswith("\n\nMeasured 2026-01-02 on 2 cores (CPU, Linux).")


def test_an_aim_that_is_missed_is_called_so() -> None:
    assert "| 3 missed |" in page.render_table([row(2.99)])


def test_the_page_shows_what_is_recorded(tmp_path: Path) -> None:
    copy = tmp_path / "speed.md"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    page.write_page(copy)
    assert copy.read_text(encoding="utf-8") == page.PAGE.read_text(encoding="utf-8"), "python -m bench page"
