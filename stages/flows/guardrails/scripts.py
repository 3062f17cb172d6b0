"""Everything that is run or read as a program: Python compiles, shells parse, YAML, JSON and TOML can be read."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOMS = ("stages", "miniature", "pod", "publish", "bench", "tests", "conf", ".ci")
SHEBANG = b"#!"


def script_problems(root: Path) -> list[str]:
    """One line per file under ``root``'s rooms, or directly in it, that cannot be read as what it is."""
    files = [path for room in ROOMS for path in (root / room).rglob("*") if path.is_file()]
    files += [path for path in root.iterdir() if path.is_file()]
    return [f"{path.relative_to(root).as_posix()}: {why}" for path in sorted(files) for why in _problem(path)]


def _problem(path: Path) -> Iterator[str]:
    try:
        match path.suffix:
            case ".py":
                compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
            case ".yaml" | ".yml" | ".lock" if path.name not in ("code.lock",):
                yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            case ".json":
                json.loads(path.read_bytes())
            case ".toml":
                tomllib.loads(path.read_text(encoding="utf-8"))
            case ".sh" | "":
                yield from _shell_problem(path)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        yield " ".join(f"{type(error).__name__}: {error}".split())


def _shell_problem(path: Path) -> Iterator[str]:
    """What bash says of a script, where there is a bash."""
    with path.open("rb") as stream:
        first = stream.readline()
    if (path.suffix == ".sh" or (first.startswith(SHEBANG) and b"sh" in first)) and (bash := shutil.which("bash")):
        done = subprocess.run([bash, "-n", path], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            yield " ".join(done.stderr.split())
