"""Bad input is one line and exit code 2; a bug keeps its traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    lines = ["from stages.runtime.entry import run_stage", "from stages.runtime.errors import UserError", "def main():"]
    Path("draw.py").write_text("\n".join([*lines, f"    {body}", "run_stage(main)"]))
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, "-m", "draw"], env=env, capture_output=True, text=True, check=False)


def test_bad_input_is_one_line_and_exit_code_2() -> None:
    done = run("raise UserError('a\\nb.png', 'not a picture', 'remove it')")
    assert (done.returncode, done.stderr) == (2, "error: a b.png: not a picture; remove it\n")


def test_a_surrogate_in_a_file_name_does_not_break_the_message() -> None:
    done = run("raise UserError('a\\udcff.png', 'not a picture')")
    assert done.returncode == 2
    assert "a\\udcff.png: not a picture" in done.stderr


def test_a_bug_keeps_its_traceback() -> None:
    done = run("raise KeyError('x')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_success_is_silent() -> None:
    done = run("pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_stage_that_is_at_work_here_is_not_started_again_and_another_is(workspace: Path) -> None:
    """Whatever its settings: both would write to the same places."""
    (workspace / "logs").mkdir()
    with FileLock(workspace / "logs/draw.lock"):
        done = run("print('drawn')")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            "error: stages.draw: is at work in this workspace already; wait for it, or end it"
        )
        assert run("print('helped')", RANK="1").stdout == "helped\n"  # one of several processes of one stage
    with FileLock(workspace / "logs/other.lock"):
        assert run("print('drawn')").stdout == "drawn\n"


def test_who_was_killed_does_not_keep_a_stage_from_starting() -> None:
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").returncode == -9
    assert run("pass").returncode == 0
