"""The two steps that a cycle does itself: read the verdict, and commit what was made."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pod.files import read_json

COMPARISON = Path("metrics/comparison.json")
GIT_S = 120.0


class StepFailed(Exception):
    """Why a step of the cycle's own did not succeed, in one line."""


def read_verdict(workspace: Path, stop_on_regression: bool) -> str:
    """What the comparison says.

    Raises:
        StepFailed: when there is none, or a guarded metric is worse than the baseline's.
    """
    told = read_json(workspace / COMPARISON)
    if not isinstance(told, dict) or not isinstance(told.get("metrics"), list):
        raise StepFailed(f"{COMPARISON.as_posix()} is not there or no comparison")
    worse = [m["metric"] for m in told["metrics"] if m.get("guarded") and m.get("verdict") == "REGRESSED"]
    if worse and stop_on_regression:
        raise StepFailed(f"worse than the baseline: {', '.join(worse)}; metrics/comparison_report.md says by how much")
    advice = told.get("recommendation") or {}
    return f"{advice.get('action', 'no advice')}: {advice.get('reason', '')}"


def commit(workspace: Path, paths: Sequence[str]) -> str:
    """Commit those of ``paths`` that are there and changed; nothing else, and nothing is pushed.

    Raises:
        StepFailed: when git refuses.
    """
    here = [path for path in paths if (workspace / path).exists()]
    if not here:
        return "nothing to commit"
    _git(workspace, "add", "--", *here)
    if not _git(workspace, "status", "--porcelain", "--untracked-files=no", "--", *here):
        return "nothing has changed"
    told = read_json(workspace / "metrics/scorecard.json")
    made = f"{told.get('lora_version')}, run {told.get('run_id')}" if isinstance(told, dict) else "no scorecard"
    _git(workspace, "-c", "commit.gpgsign=false", "commit", "--quiet", "-m", f"Record a cycle: {made}", "--", *here)
    return _git(workspace, "log", "-1", "--format=%h %s")


def _git(workspace: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(workspace), *words], capture_output=True, text=True, check=False, timeout=GIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StepFailed(f"git {words[0]}: {error}") from None
    if done.returncode:
        raise StepFailed(f"git {words[0]}: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout.strip()
