"""The pages: within their budgets of lines, and facts with a date that somebody has looked at not too long ago."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

LINES = 200  # what a page may have: more is not read
BUDGETS = {
    "README.md": 230, "CHANGELOG.md": 200, "docs/params.md": 560, "docs/outputs.md": 400, "docs/training.md": 260,
    "docs/pod.md": 320, "docs/scale.md": 120, "docs/publishing.md": 260, "docs/findings.md": 600, "docs/tasks.md": 300,
}  # fmt: skip
DATED = re.compile(r"\bas of\b|\b20\d\d-(0[1-9]|1[0-2])-([0-2]\d|3[01])\b|\bnot yet run on a (GPU|pod)\b")
FACTS = ("README.md", "docs/*.md", "conf/*/*.yaml", "pod/pod.toml")
MEASURED = frozenset({"docs/findings.md", "docs/tasks.md"})  # they say of which run they are
OLD_DAYS = 120
GIT_S = 60.0


def budget_problems(root: Path, budgets: Mapping[str, int] = BUDGETS) -> list[str]:
    """Pages that have grown beyond their budget, and budgets of pages that are not there."""
    problems = []
    for path in [*root.glob("*.md"), *sorted((root / "docs").glob("*.md"))]:
        name, count = path.relative_to(root).as_posix(), len(path.read_text(encoding="utf-8").splitlines())
        most = budgets.get(name, LINES)
        if count > most:
            problems.append(f"{name}: {count} lines, {most} are its budget; shorten it, or move a part to its own page")
    return problems


def old_facts(root: Path, now: float, days: int = OLD_DAYS) -> list[str]:
    """Lines with a date, or with "as of" or "not yet run", that were committed more than ``days`` days before ``now``.

    The age is that of the line's commit, not of the date that it names: whoever looks at a fact again and finds it
    right commits a new date.  Nothing where git does not answer.
    """
    found = []
    for pattern in FACTS:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            numbers = [n for n, line in enumerate(_lines(path), start=1) if DATED.search(line)]
            if name in MEASURED or not numbers:
                continue
            for number, seconds, text in _blame(root, name):
                age = (now - seconds) / 86_400
                if number in numbers and age > days:
                    found.append(f"{name}:{number}: {age:.0f} days old, is it true still?  {text.strip()[:80]}")
    return found


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _blame(root: Path, name: str) -> Iterator[tuple[int, float, str]]:
    """Number, time of the commit and text of every line."""
    command = ["git", "-C", str(root), "blame", "--line-porcelain", "--", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_S, encoding="utf-8")
    except (OSError, subprocess.TimeoutExpired):
        return
    number, seconds = 0, 0.0
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        if head := re.fullmatch(r"\^?[0-9a-f]{39,64} \d+ (\d+)(?: \d+)?", line):
            number = int(head[1])
        elif line.startswith("committer-time "):
            seconds = float(line.split()[1])
        elif line.startswith("\t"):
            yield number, seconds, line[1:]
