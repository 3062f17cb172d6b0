"""Which code runs: each stage's hash follows its own files, and nothing private gets into requirements.txt."""

import shutil
import subprocess
from pathlib import Path

import pytest

from stages.contracts.code_lock import read_code_lock, write_code_lock
from stages.flows import code
from stages.flows.code import find_other_code, requirement, running_code
from stages.runtime.errors import UserError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, taken for the running one; the working folder is elsewhere."""
    root = tmp_path / "code"
    shutil.copytree(REPOSITORY / "stages", root / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    monkeypatch.setattr(code, "ROOT", root)
    monkeypatch.setattr(code, "PACKAGE", root / "stages")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return root


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def changed(root: Path, file: str) -> set[str]:
    before = running_code().stages
    with (root / file).open("a") as stream:
        stream.write("# changed\n")
    after = running_code().stages
    return {name for name in after if before[name] != after[name]}


def test_a_stage_is_another_when_its_code_or_its_part_of_dvc_yaml_is(copy: Path) -> None:
    assert changed(copy, "stages/train.py") == {"train"}
    assert changed(copy, "stages/measures/identity.py") == {"sweep", "eval"}
    assert changed(copy, "stages/__main__.py") == set()
    assert changed(copy, "stages/reports/page/page.css") == {"compare"}
    before = running_code().stages
    pipeline = (copy / "dvc.yaml").read_text()
    (copy / "dvc.yaml").write_text(
        pipeline.replace("cmd: python -m stages.caption", "cmd: python -m stages.caption -v")
    )
    after = running_code().stages
    assert {name for name in after if before[name] != after[name]} == {"caption"}


def test_bytecode_and_stray_files_make_no_other_code(copy: Path) -> None:
    before = running_code()
    (copy / "stages/measures/__pycache__").mkdir()
    (copy / "stages/measures/__pycache__/identity.cpython-311.pyc").write_bytes(b"x")
    (copy / "stages/measures/.DS_Store").write_bytes(b"x")
    assert running_code() == before


def test_a_workspace_that_was_locked_with_other_code_is_told(copy: Path) -> None:
    assert find_other_code() == ""
    write_code_lock(running_code())
    assert find_other_code() == ""
    changed(copy, "stages/eval.py")
    assert "here runs" in find_other_code()
    assert "(another eval); run `pistachio upgrade`" in find_other_code()


def test_the_lock_is_read_as_it_was_written_and_refused_when_it_is_wrong(copy: Path) -> None:
    write_code_lock(running_code())
    assert read_code_lock() == running_code()
    Path("code.lock").write_text("version: 1.0\nstages: {}\ncommmit: x\n")
    with pytest.raises(UserError, match="commmit: unknown key"):
        read_code_lock()


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ("https://example.org/who/pistachio.git", "git+https://example.org/who/pistachio.git"),
        ("https://ada:secret@example.org/who/pistachio.git", "git+https://example.org/who/pistachio.git"),
        ("git@example.org:who/pistachio.git", "git+ssh://git@example.org/who/pistachio.git"),
        ("ssh://git@example.org/who/pistachio.git", "git+ssh://git@example.org/who/pistachio.git"),
    ],
)
def test_requirements_pin_the_commit_and_hold_no_password(copy: Path, remote: str, said: str) -> None:
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "code")
    git(copy, "remote", "add", "origin", remote)
    assert requirement() == f"pistachio @ {said}@{git(copy, 'rev-parse', 'HEAD')}\n"
    changed(copy, "stages/eval.py")
    assert requirement().startswith("# pistachio ")
    assert "with changes" in requirement()


def test_requirements_of_code_that_is_nowhere_published_name_no_path_and_install_nothing(copy: Path) -> None:
    git(copy, "init", "--quiet")
    git(copy, "add", "--all")
    git(copy, "commit", "--quiet", "--message", "code")
    git(copy, "remote", "add", "origin", str(copy))
    assert requirement().startswith("# pistachio ")
    assert str(copy) not in requirement()
