"""Two pages that grow run by run: findings, and tasks to tick.  What a person writes into them stays."""

import difflib
import re

from stages.contracts.briefing import Briefing, Finding

FINDINGS_HEAD = """# Findings

What the runs of this workspace taught.  `pistachio findings promote` adds to it and keeps every line that is not its
own.
"""
TASKS_HEAD = """# Tasks

What the findings ask for.  Tick what is done; what a later run finds again is opened again.
"""
SECTIONS = {"regression": "Regressions", "flag": "Flags", "warning": "Warnings", "advice": "Advice"}
MARK = re.compile(r" <!-- (\S+) first (\S+) last (\S+) -->$")


def merge_findings(text: str, briefing: Briefing) -> str:
    """The page with this run's findings: new ones under their heading, known ones with what was said last."""
    lines = (text or FINDINGS_HEAD).rstrip("\n").split("\n")
    for finding in briefing.findings:
        at, first, last = _find(lines, finding.key)
        if at is None:
            said = f"- {_flat(finding.text)}{_mark(finding, briefing.run, briefing.run)}"
            _insert(lines, f"## {SECTIONS[finding.kind]}", said)
        elif last != briefing.run:
            lines[at] = f"- {_flat(finding.text)}{_mark(finding, first, briefing.run)}"
    return "\n".join(lines) + "\n"


def merge_tasks(text: str, briefing: Briefing) -> str:
    """The list with this run's tasks: a known one is not repeated, a ticked one is opened by a later run."""
    lines = (text or TASKS_HEAD).rstrip("\n").split("\n")
    for finding in briefing.findings:
        at, first, last = _find(lines, finding.key)
        if at is None:
            if len(lines) < 2 or not lines[-1].startswith("- ["):
                lines.append("")
            lines.append(f"- [ ] {_flat(finding.task)}{_mark(finding, briefing.run, briefing.run)}")
        elif last != briefing.run:
            body = MARK.sub("", lines[at]).replace("- [x]", "- [ ]", 1).replace("- [X]", "- [ ]", 1)
            lines[at] = body + _mark(finding, first, briefing.run)
    return "\n".join(lines) + "\n"


def show_change(before: str, after: str, name: str) -> str:
    """The change as a unified diff; empty where there is none."""
    return "".join(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, name))


def _flat(text: str) -> str:
    """On one line, and without what would end a comment."""
    return " ".join(text.split()).replace("<!--", "").replace("-->", "")


def _mark(finding: Finding, first: str, last: str) -> str:
    return f" <!-- {finding.key} first {first} last {last} -->"


def _find(lines: list[str], key: str) -> tuple[int | None, str, str]:
    """Where a finding stands, the run that it was first seen in, and the last one."""
    for number, line in enumerate(lines):
        if (match := MARK.search(line)) and match[1] == key:
            return number, match[2], match[3]
    return None, "", ""


def _insert(lines: list[str], heading: str, line: str) -> None:
    """Add a line at the end of a section, which is made where it is not."""
    if heading not in lines:
        lines += ["", heading, ""]
    at = lines.index(heading) + 1
    while at < len(lines) and not lines[at].startswith("## "):
        at += 1
    while lines[at - 1] == "" and at - 1 > lines.index(heading) + 1:
        at -= 1
    lines.insert(at, line)
