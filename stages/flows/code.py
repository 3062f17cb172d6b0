"""The code that runs: where its files lie, which version it is, and what each stage is made of."""

import json
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import stages
from stages.contracts.code_lock import CodeLock, read_code_lock
from stages.contracts.paths import CODE_LOCK
from stages.contracts.settings import read_yaml
from stages.runtime.provenance import hash_file, hash_json

PACKAGE = Path(stages.__file__).parent
ROOT = PACKAGE.parent  # the repository, or site-packages
CODE = "stages/"  # dependencies of dvc.yaml that are code
SUFFIXES = frozenset({".py", ".html", ".css", ".js"})


def code_file(name: str) -> Path:
    """A file or folder of the repository that a workspace is made from; a wheel holds it inside the package."""
    packed = PACKAGE / "template" / name
    return packed if packed.exists() else ROOT / name


def read_pipeline() -> dict[str, Any]:
    """The code's own dvc.yaml."""
    return read_yaml(code_file("dvc.yaml"))


def running_code() -> CodeLock:
    """The code of this process."""
    hashes = {name: _hash_stage(stage) for name, stage in read_pipeline()["stages"].items()}
    return CodeLock(version=_version(), commit=_commit(), stages=hashes)


def _hash_stage(stage: dict[str, Any]) -> str:
    files = sorted(file for dep in stage["deps"] if dep.startswith(CODE) for file in _code_files(ROOT / dep))
    return hash_json([stage, [[file.relative_to(ROOT).as_posix(), hash_file(file)] for file in files]])


def _code_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.suffix in SUFFIXES]


def find_other_code() -> str:
    """One line when the workspace was locked with other code than runs here; empty when it was not, or is the code."""
    if not CODE_LOCK.exists():
        return ""
    locked, running = read_code_lock(), running_code()
    other = sorted(dict(set(locked.stages.items()) ^ set(running.stages.items())))
    if not other:
        return ""
    return (
        f"{CODE_LOCK}: locked with pistachio {locked.label}, here runs {running.label} (another {', '.join(other)}); "
        "run `pistachio upgrade`, or install what requirements.txt names"
    )


def requirement() -> str:
    """The line of requirements.txt that installs this very code; a remark where no address of it is known.

    Never a bare name and version: a package index may know another project by that name.
    """
    commit, address = _commit(), _address()
    if commit and address and not commit.endswith("-dirty"):
        return f"pistachio @ git+{address}@{commit}\n"
    label = running_code().label
    return f"# pistachio {label}: not a published commit.  Install your copy of the code: pip install PATH\n"


def _version() -> str:
    try:
        return distribution("pistachio").version
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str | None:
    """The commit of the repository around the package, or of which pip made the installed one."""
    if (ROOT / ".git").exists():
        head = _git("rev-parse", "HEAD")
        return (
            head + ("-dirty" if head and _git("status", "--porcelain", "--", "stages", "conf", "dvc.yaml") else "")
            or None
        )
    commit = _installed_from().get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None


def _address() -> str | None:
    """Where others find the repository, without a user's name or password in it."""
    url = _git("remote", "get-url", "origin") if (ROOT / ".git").exists() else str(_installed_from().get("url", ""))
    if match := re.fullmatch(r"(https?|ssh)://(?:[^@/]*@)?(.+)", url):
        return f"{match[1]}://{'git@' if match[1] == 'ssh' else ''}{match[2]}"
    if match := re.fullmatch(r"[\w.-]+@([\w.-]+):(?!/)(.+)", url):  # git's short form of ssh
        return f"ssh://git@{match[1]}/{match[2]}"
    return None


def _installed_from() -> dict[str, Any]:
    try:
        text = distribution("pistachio").read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    return dict(json.loads(text)) if text else {}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
