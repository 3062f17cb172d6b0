"""Bad input is one line and exit code 2; a bug keeps its traceback."""

import subprocess
import sys


def run(body: str) -> subprocess.CompletedProcess[str]:
    lines = ["from stages.runtime.entry import run_stage", "from stages.runtime.errors import UserError", "def main():"]
    code = "\n".join([*lines, f"    {body}", "run_stage(main)"])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


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
