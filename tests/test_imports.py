"""The one line of imports (runtime <- contracts <- measures, reports <- backends <- flows <- stages) holds."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"runtime": 0, "contracts": 1, "measures": 2, "reports": 2, "backends": 3, "flows": 4}
STAGE, COMMAND = 5, 6
HEAVY = frozenset(
    "torch diffusers transformers peft accelerate insightface onnxruntime prodigyopt xformers bitsandbytes ray".split()
)


def room_of(module: str) -> str | None:
    """stages.runtime.files -> runtime; stages.train -> a stage; miniature.x -> None."""
    parts = module.split(".")
    if parts[0] != "stages" or len(parts) < 2:
        return None
    return parts[1] if parts[1] in ROOMS else "command" if parts[1] in ("__main__", "commands") else "stage"


def level(room: str) -> int:
    return ROOMS.get(room, STAGE if room == "stage" else COMMAND)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def problem(module: str, target: str) -> str | None:
    """What is wrong with ``module`` importing ``target``, or None."""
    mine, its = room_of(module) or "", room_of(target)
    package = target.split(".")[0]
    if package in ("miniature", "pod", "publish", "bench") and module.startswith("stages."):
        return "stages must not know the rooms beside it"
    if package in HEAVY and module.startswith("stages.") and mine != "backends":
        return "only backends import models' libraries"
    if its is None or target.count(".") < 1:
        return None
    same_package = mine == its and mine not in ("measures", "reports", "stage")
    if its == "stage" and mine == "stage" and target.split(".")[1] != module.split(".")[1]:
        return "no stage imports a stage"
    if level(its) > level(mine):
        return f"{mine} must not import {its}"
    if level(its) == level(mine) and mine != its and not same_package:
        return f"{mine} and {its} stand side by side"
    return None


def violations(root: Path) -> list[str]:
    found = []
    for path in sorted((root / "stages").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for target in imported(ast.parse(path.read_text(encoding="utf-8"))):
            why = problem(module, target)
            if why:
                found.append(f"{module} imports {target}: {why}")
    return found


def entanglements(root: Path) -> list[str]:
    """What publish/ imports of rooms that are not its business: of stages/, the stages themselves and commands."""
    found = []
    for path in sorted((root / "publish").rglob("*.py")):
        for target in imported(ast.parse(path.read_text(encoding="utf-8"))):
            if target.split(".")[0] in ("miniature", "pod", "bench") or room_of(target) in ("stage", "command"):
                found.append(f"{path.name} imports {target}")
            elif target.split(".")[0] in HEAVY:
                found.append(f"{path.name} imports {target}: only backends import models' libraries")
    return found


def strangers(root: Path) -> list[str]:
    """What pod/ imports beside the standard library and itself."""
    found = []
    for path in sorted((root / "pod").rglob("*.py")):
        packages = {target.split(".")[0] for target in imported(ast.parse(path.read_text(encoding="utf-8")))}
        found += [f"{path.name} imports {name}" for name in sorted(packages - sys.stdlib_module_names - {"pod"})]
    return found


def test_every_import_points_down_the_line() -> None:
    assert violations(ROOT) == []


def test_the_pod_needs_nothing_installed() -> None:
    assert strangers(ROOT) == []
    assert len(list((ROOT / "pod").glob("*.py"))) > 5


def test_what_is_published_needs_neither_stages_nor_rooms_beside_it() -> None:
    assert entanglements(ROOT) == []
    assert len(list((ROOT / "publish").rglob("*.py"))) > 5


@pytest.mark.parametrize("line", ["from stages.batch import main", "import pod.meter", "import torch"])
def test_a_planted_import_in_publish_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "publish/serve").mkdir(parents=True)
    (tmp_path / "publish/serve/app.py").write_text(f"from stages.flows.scoring import score\n{line}\n")
    assert len(entanglements(tmp_path)) >= 1


def test_a_planted_import_in_the_pod_is_found(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod/startup.py").write_text("import json\nfrom pod.files import locked\nimport yaml, stages.x\n")
    assert strangers(tmp_path) == ["startup.py imports stages", "startup.py imports yaml"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("stages/train.py", "from stages.sweep import main"),
        ("stages/measures/identity.py", "import torch"),
        ("stages/contracts/settings.py", "from stages.flows.scoring import score"),
        ("stages/reports/montage.py", "from stages.measures.identity import ruler"),
        ("stages/runtime/files.py", "from stages.contracts.paths import PARAMS"),
        ("stages/backends/train/loop.py", "from miniature.places import PERSONA"),
    ],
)
def test_a_planted_import_against_the_line_is_found(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def later():\n    {line}\n")
    assert len(violations(tmp_path)) >= 1


def test_the_files_that_were_checked_exist() -> None:
    assert {p.stem for p in (ROOT / "stages").glob("*.py")} >= {
        "caption",
        "manifest",
        "train",
        "sweep",
        "eval",
        "compare",
    }
