"""References of pages, settings and the pipeline: to files that are there, and to commands that can be typed."""

import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import yaml

FOLDERS = ("stages/", "conf/", "miniature/", "tests/", "docs/", "pod/", "bench/", "publish/")
MADE = frozenset({
    "docs/findings.md", "docs/tasks.md", "miniature/trial.json", "miniature/ablation.json", "miniature/truth.json",
    "conf/workflows/saved",
})  # fmt: skip  # by commands
PATH = re.compile(rf"(?<![\w./-])((?:{'|'.join(FOLDERS)})[\w./-]*\w)")
COMMAND = re.compile(r"\s*(?:pistachio|make|python -m) ")
QUOTED = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)

Refusal = Callable[[list[str]], str]
"""Why ``pistachio WORDS...`` cannot be typed; empty when it can."""


def reference_problems(root: Path, refuse: Refusal) -> list[str]:
    """One line per reference that leads nowhere, in README, docs/, conf/ and dvc.yaml."""
    targets = set(TARGET.findall(_text(root / "Makefile"))) if (root / "Makefile").is_file() else None
    problems = []
    for page in [*root.glob("README.md"), *sorted((root / "docs").glob("*.md"))]:
        name, text = page.relative_to(root).as_posix(), _text(page)
        problems += [f"{name}: link to {link}, which is not there" for link in _dead_links(page, text)]
        problems += [f"{name}: {why}" for why in _dead_commands(text, targets, refuse)]
        quoted = re.findall(r"`([\w./-]+)`", text)
        problems += [f"{name}: names {path}, which is not there" for path in _dead_paths(root, " ".join(quoted))]
    for file in sorted((root / "conf").rglob("*.yaml")):
        name = file.relative_to(root).as_posix()
        problems += [f"{name}: names {path}, which is not there" for path in _dead_paths(root, _text(file))]
    return list(dict.fromkeys([*problems, *_pipeline_problems(root)]))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _dead_links(page: Path, text: str) -> Iterator[str]:
    for link in LINK.findall(text):
        path = unquote(link).partition("#")[0]
        if path and not re.match(r"[a-z]+:", link) and not (page.parent / path).exists():
            yield link


def _dead_paths(root: Path, text: str) -> Iterator[str]:
    """Paths below a known folder of the repository; a folder that this workspace does not have is not asked for."""
    for path in PATH.findall(text):
        known = (root / path.partition("/")[0]).is_dir()
        if known and path.rstrip("/") not in MADE and not _is_there(root, path):
            yield path


def _is_there(root: Path, path: str) -> bool:
    """There, or the beginning of a name whose rest was a placeholder: conf/profile/PROFILE.yaml."""
    return (root / path).exists() or bool(re.search(r"[A-Z]{2,}|NAME", path))


def _dead_commands(text: str, targets: set[str] | None, refuse: Refusal) -> Iterator[str]:
    for typed in filter(COMMAND.match, [*_blocks(text), *QUOTED.findall(text)]):
        for line in re.split(r"&&|\||;", typed):
            words = _words(line)
            if why := _why_dead(words, targets, refuse):
                yield f"`{' '.join(words)}`: {why}"


def _blocks(text: str) -> Iterator[str]:
    """The lines of code blocks, fenced or indented: a sentence may begin a line with "make", too."""
    fenced = inside = False
    before = ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        else:
            inside = line.startswith("    ") and (inside or not before.strip())
            if fenced or inside:
                yield line
        before = line


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quotation mark that the next line closes
        return line.split()


def _why_dead(words: list[str], targets: set[str] | None, refuse: Refusal) -> str:
    match words:
        case ["make", *rest] if targets is not None:
            strange = [word for word in rest if re.fullmatch(r"[a-z-]+", word) and word not in targets]
            return f"no target {strange[0]}" if strange else ""
        case ["pistachio", "pod", name, *_] | ["python", "-m", "pod", name, *_] if re.fullmatch(r"[a-z]+", name):
            return "" if _has_module(f"pod.{name}") else f"no command {name} of the pod"
        case ["python", "-m", module, *_] if re.fullmatch(r"[\w.]+", module):
            return "" if _has_module(module) else f"no module {module}"
        case ["pistachio", *rest]:
            return refuse(rest)
    return ""


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _pipeline_problems(root: Path) -> Iterator[str]:
    """Modules that dvc.yaml runs and code or settings that it depends on; outs and models are DVC's own to miss."""
    path = root / "dvc.yaml"
    if not path.is_file():
        return
    stages = (yaml.safe_load(_text(path)) or {}).get("stages") or {}
    for name, stage in stages.items():
        words = _words(str(stage.get("cmd", "")))
        if words[:2] == ["python", "-m"] and len(words) > 2 and not _has_module(words[2]):
            yield f"dvc.yaml: stage {name} runs {words[2]}, and there is no such module"
        for dep in stage.get("deps") or []:
            if str(dep).startswith(("stages/", "conf/")) and not (root / str(dep)).exists():
                yield f"dvc.yaml: stage {name} depends on {dep}, which is not there"
