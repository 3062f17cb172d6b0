"""Virtual environments at pinned versions: pip runs only when what it would read, or what it installed, has changed."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from pod.errors import PodError
from pod.files import read_json, sha256_file, write_atomic, write_json
from pod.processes import run
from pod.startup_settings import CODE, Environment
from pod.table import RAN, SKIPPED

MAKING, INSTALLING = "making the environment", "installing packages"  # what a killed startup was at
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def prepare(name: str, wanted: Environment, workspace: Path, state: Path, log: Path) -> tuple[str, str]:
    """Have the environment as it is wanted; status and why.

    Raises:
        PodError: when it cannot be made or pip fails.
    """
    python, stamp, began = workspace / wanted.python, state / f"{name}.json", state / f"{name}.begun"
    lines = _requirement_lines(wanted, workspace)
    key = _key(wanted, workspace, lines)
    why = _reason(python, key, stamp, began)
    if not why:
        return SKIPPED, "as pinned"
    stamp.unlink(missing_ok=True)
    if began.exists() and (site := _site(python)):
        _sweep(site)
    half_made = began.exists() and began.read_text() == MAKING
    if half_made or not _has_pip(python):
        write_atomic(began, MAKING)
        run([wanted.base, "-m", "venv", "--clear", str(python.parents[1])], log)
    write_atomic(began, INSTALLING)
    _install(wanted, python, workspace, lines, state / f"{name}-requirements.txt", log)
    write_json(stamp, {"key": key, "site": _fingerprint(_site(python))})
    began.unlink()
    return RAN, why


def _reason(python: Path, key: str, stamp: Path, began: Path) -> str:
    """Why pip must run; empty when it need not."""
    if not python.exists():
        return f"{python} was not there"
    if began.exists():
        return "an installation was broken off"
    known = read_json(stamp)
    if not isinstance(known, dict):
        return "never installed here"
    if known.get("key") != key:
        return "the pins have changed"
    if known.get("site") != _fingerprint(_site(python)):
        return "packages have changed since"
    return ""


def _install(wanted: Environment, python: Path, workspace: Path, lines: list[str], listed: Path, log: Path) -> None:
    pip = [str(python.absolute()), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    for words in wanted.install:
        run([*pip, "install", *[filled(word) for word in words]], log, workspace)
    if lines:
        write_atomic(listed, "\n".join(lines) + "\n")
        shared = [filled(word) for word in (wanted.install[-1] if wanted.install else ()) if word.startswith("-")]
        run([*pip, "install", *shared, "--requirement", str(listed.absolute())], log, workspace)
    if wanted.onnxruntime:
        _leave_one_runtime(wanted, pip, python, log, workspace)


def _leave_one_runtime(wanted: Environment, pip: list[str], python: Path, log: Path, workspace: Path) -> None:
    """Both onnxruntimes write into one folder and insightface asks for the CPU's: remove both, install one, last."""
    site = _site(python)
    there = [name for name in RUNTIMES if list(site.glob(f"{name.replace('-', '_')}-*.dist-info"))] if site else []
    name, _, version = wanted.onnxruntime.partition("==")
    if there == [name] and site and (site / f"{name.replace('-', '_')}-{version}.dist-info").is_dir():
        return
    if there:
        run([*pip, "uninstall", "--yes", *there], log, workspace)
    options = [filled(word) for words in wanted.install for word in words if word.startswith(("--no-index", "--find"))]
    run([*pip, "install", "--no-deps", *options, wanted.onnxruntime], log, workspace)


def filled(word: str) -> str:
    """A word of pod.toml with {code} filled in."""
    return word.replace("{code}", str(CODE))


def _requirement_lines(wanted: Environment, workspace: Path) -> list[str]:
    """The lines of the requirement files, without remarks and without what is left out."""
    lines = []
    for path in wanted.requirements:
        place = workspace / filled(str(path))
        text = place.read_text(encoding="utf-8") if place.is_file() else ""
        lines += [line.split("#")[0].strip() for line in text.splitlines()]
    names = {name.lower() for name in wanted.leave_out}
    return [line for line in lines if line and re.split(r"[\s<>=!~;\[]", line)[0].lower() not in names]


def _key(wanted: Environment, workspace: Path, lines: list[str]) -> str:
    files = [workspace / filled(str(path)) for path in wanted.files]
    hashes = [sha256_file(path) if path.is_file() else "" for path in files]
    text = json.dumps([wanted.base, wanted.install, wanted.onnxruntime, lines, hashes])
    return hashlib.sha256(text.encode()).hexdigest()


def _has_pip(python: Path) -> bool:
    if not python.exists():
        return False
    answer = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False)
    return answer.returncode == 0


def _site(python: Path) -> Path | None:
    """The site-packages of an environment; None: it has none yet."""
    root = python.absolute().parents[1]
    found = [*root.glob("lib/python*/site-packages"), *root.glob("Lib/site-packages")]
    return found[0] if found else None


def _fingerprint(site: Path | None) -> str:
    """Of names and versions of all that is installed."""
    names = sorted(path.name for path in site.glob("*.dist-info")) if site else []
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _sweep(site: Path) -> None:
    """After an installation was killed: forget packages whose files are not all there, so that pip brings them anew."""
    for leftover in site.glob("~*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for record in [path / "RECORD" for path in site.glob("*.dist-info")]:
        if record.is_file() and _whole(site, record):
            continue
        if record.parent.name.startswith("pip-"):
            shutil.rmtree(site / "pip", ignore_errors=True)  # half a pip installs nothing: the environment is made anew
        shutil.rmtree(record.parent)


def _whole(site: Path, record: Path) -> bool:
    """Whether every file that a package lists is there with its size."""
    try:
        with record.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream) if len(row) == 3]
        return bool(rows) and all((site / path).stat().st_size == int(size) for path, _, size in rows if size)
    except (OSError, ValueError):
        return False


def check_base(base: str) -> str:
    """The version of the interpreter that environments are made with.

    Raises:
        PodError: when it is not there.
    """
    found = shutil.which(base)
    if not found:
        raise PodError(base, "is not on this machine", "install it, or name another as base in pod.toml")
    answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or found
