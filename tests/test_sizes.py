"""Nothing in the product is long: functions, files, stage files and their ``main``."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = sorted(p for p in (ROOT / "stages").glob("*.py") if not p.name.startswith("_"))


def functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(lines, name) of every function in ``tree``, its signature and docstring counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1, node.name


def lengths(room: str) -> list[tuple[int, str]]:
    """(lines, place) of every function of a room, shortest first."""
    files = sorted((ROOT / room).rglob("*.py"))
    found = [(size, f"{path.name}:{name}") for path in files for size, name in functions(ast.parse(path.read_text()))]
    return sorted(found)


@pytest.mark.parametrize("room", ["stages", "miniature", "bench", "pod", "publish"])
def test_every_function_is_under_80_lines_and_nine_in_ten_are_under_40(room: str) -> None:
    sizes = lengths(room)
    assert len(sizes) > 40
    assert sizes[-1][0] < 80, sizes[-1]
    assert sizes[int(0.9 * len(sizes))][0] < 40


def test_every_file_is_under_300_lines() -> None:
    files = [path for room in ("stages", "pod", "publish") for path in (ROOT / room).rglob("*.py")]
    sizes = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in files}
    assert "stages/backends/train/loop.py" in sizes
    assert {name: size for name, size in sizes.items() if size >= 300} == {}


@pytest.mark.parametrize("path", STAGES, ids=lambda path: path.stem)
def test_a_stage_file_is_under_150_lines_and_its_main_under_15(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 150
    assert {name: size for size, name in functions(ast.parse(text))}["main"] < 15


def test_a_function_s_length_counts_from_its_name_to_its_last_line() -> None:
    tree = ast.parse("class A:\n    def f(self):\n        '''Say.'''\n\n        return (\n            1\n        )\n")
    assert list(functions(tree)) == [(6, "f")]
