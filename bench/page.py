"""The computed parts of the pages: every benchmark's newest ratios in docs/speed.md."""

import json
from pathlib import Path

from bench.harness import RESULTS
from bench.regressions import Row, read_rows
from bench.results_file import ROOT
from stages.runtime.files import write_text

PAGE = ROOT / "docs" / "speed.md"
BEGIN, END = "<!-- python -m bench page -->", "<!-- end -->"
COLUMNS = ("`python -m bench`", "case", "work", "ours", "peer", "ratio", "interval", "aim")
HEAD = f"| {' | '.join(COLUMNS)} |\n|---|---|---|---:|---:|---:|---:|---:|"


def newest(results: Path = RESULTS) -> list[Row]:
    """Of every benchmark and case the row that was recorded last, by name."""
    rows: dict[str, Row] = {}
    for path in sorted(results.glob("*.json")):
        rows |= {json.dumps([row["command"], row["figures"]["case"]]): row for row in read_rows(path)}
    return list(rows.values())


def render_table(rows: list[Row]) -> str:
    """Markdown: a line for each row, and which machines they are of."""
    lines = [HEAD]
    for row in rows:
        told = row["figures"]
        low, high = told["interval"]
        aim = "" if told["aim"] is None else f"{told['aim']:g} {'met' if told['ratio'] >= told['aim'] else 'missed'}"
        work, times = f"{told['work']:,} {told['unit']}", f"{told['ours_s']:.2f} s | {told['peer_s']:.2f} s"
        ratio = f"{told['ratio']:.2f} | {low:.2f} to {high:.2f}"
        lines.append(f"| {row['command'].split()[-1]} | {told['case']} | {work} | {times} | {ratio} | {aim} |")
    return "\n".join([*lines, "", *sorted({_describe_machine(row) for row in rows})])


def _describe_machine(row: Row) -> str:
    machine = row["machine"]
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ""
    return f"Measured {row['date']} on {machine['cores']} cores ({machine['cpu']}, {machine['system']}){gpus}."


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put ``text`` between a page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    write_text(page, f"{before}{begin}\n\n{text}\n\n{end}{after}")


def write_page(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Put the newest rows' table between the page's marks."""
    write_between(page, BEGIN, END, render_table(newest(results)))
