"""Bad input is one line and exit code 2; a bug keeps its traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own: stages of one workspace take turns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(body: str) -> subprocess.CompletedProcess[str]:
    lines = ["import os", "from stages.runtime.entry import run_stage", "from stages.runtime.errors import UserError"]
    code = "\n".join([*lines, "def main():", f"    {body}", "run_stage(main)"])
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


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("ENOSPC", "make room"), ("EDQUOT", "make room"), ("EROFS", "make it writable"), ("EACCES", "make it writable"),
        ("EFBIG", "ulimit -f"), ("ENAMETOOLONG", "shorter name"), ("EMFILE", "ulimit -n"),
    ],
)  # fmt: skip
def test_what_the_disk_refuses_is_one_line_too(name: str, todo: str) -> None:
    done = run(f"import errno; raise OSError(errno.{name}, os.strerror(errno.{name}), 'data/a b.json')")
    assert done.returncode == 2
    assert done.stderr.startswith("error: data/a b.json: ")
    assert todo in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_full_disk_that_names_no_file_is_one_line_too() -> None:
    done = run("open('/dev/full', 'w').write('x' * 100000)")
    assert (done.returncode, done.stderr) == (
        2, "error: the disk: No space left on device; make room (df -h .), then run again\n"
    )  # fmt: skip


def test_a_file_that_is_not_there_is_a_bug() -> None:
    done = run("open('nowhere')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    done = run(r"raise UserError('\x1b[2Ja\x00b\x7f.png', 'not a picture')")
    assert done.stderr == "error: \\x1b[2Ja\\x00b\\x7f.png: not a picture\n"


def test_an_error_of_the_operating_system_with_a_name_in_bytes_is_shown() -> None:
    done = run(r"import errno; raise PermissionError(errno.EACCES, 'no', os.fsencode('\udcff.png'))")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
