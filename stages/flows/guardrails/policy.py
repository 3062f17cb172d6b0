"""The threshold policy: whole in conf/thresholds, and no number that divides good from bad written anywhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stages.contracts.section import Section
from stages.contracts.settings import Thresholds

POLICY = Path("conf/thresholds/default.yaml")
OVERRIDING = ("thresholds", "profile")  # groups of conf/ that may set a threshold
NEUTRAL = frozenset({0, 1, -1, 2, 100})  # counts, signs and the ends of scales, not policies
JUDGED = re.compile(
    r"similar|likeness|adheren|realism|texture|colou?r|pass(ed|_)|grade|overall|memoris|closeness|cosine|preserv"
    r"|threshold|detection_rate|judges_apart|cutoff",
    re.IGNORECASE,
)
# Numbers that are named like a policy and are none, each with the reason.
ALLOWED = {
    ("stages/backends/faces/insightface_pack.py", "DETECTION_THRESHOLD"): "InsightFace's own: what is a face at all",
}


def policy_problems(root: Path) -> list[str]:
    """What the policy lacks, who else sets a threshold in conf/, and which code has a number of its own."""
    return [*_incomplete(root), *_elsewhere(root), *_hard_coded(root)]


def _incomplete(root: Path) -> Iterator[str]:
    if not (root / POLICY).is_file():
        yield f"{POLICY.as_posix()}: is not there"
        return
    said = set(_keys(yaml.safe_load((root / POLICY).read_text(encoding="utf-8"))))
    known = set(_fields(Thresholds))
    yield from (f"{POLICY.as_posix()}: {key} is not set" for key in sorted(known - said))
    yield from (f"{POLICY.as_posix()}: {key} is no threshold" for key in sorted(said - known))


def _keys(values: Any, above: str = "") -> Iterator[str]:
    for key, value in (values or {}).items():
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _fields(model: type[Section], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _fields(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _elsewhere(root: Path) -> Iterator[str]:
    """Files of conf/ beside the policy and the profiles that set thresholds."""
    for path in sorted((root / "conf").glob("*/*.yaml")):
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError:
            continue  # what cannot be read is said by scripts.py
        if path.parent.name not in OVERRIDING and isinstance(values, dict) and "thresholds" in values:
            yield f"{path.relative_to(root).as_posix()}: sets thresholds; they belong in conf/thresholds or a profile"


def _hard_coded(root: Path) -> Iterator[str]:
    """Comparisons of something judged with a number, and constants and defaults that are named like a threshold."""
    for path in sorted((root / "stages").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.startswith("stages/contracts/"):  # the schema's defaults: a test holds them to conf/
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            for what, line in _numbers(node):
                if (name, what) not in ALLOWED:
                    yield f"{name}:{line}: {what} is a threshold of its own; it belongs in conf/thresholds"


def _numbers(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.Compare():
            sides = [node.left, *node.comparators]
            judged = any(JUDGED.search(ast.unparse(side)) for side in sides if not isinstance(side, ast.Constant))
            if judged and any(_is_policy(side) for side in sides):
                yield ast.unparse(node), node.lineno
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=value)
        ):
            if value is not None and JUDGED.search(name) and _is_policy(value):
                yield name, node.lineno
        case ast.arguments():
            named = [*zip(reversed([*node.posonlyargs, *node.args]), reversed(node.defaults), strict=False),
                     *zip(node.kwonlyargs, node.kw_defaults, strict=True)]  # fmt: skip
            for argument, default in named:
                if default is not None and JUDGED.search(argument.arg) and _is_policy(default):
                    yield f"{argument.arg}={ast.unparse(default)}", default.lineno


def _is_policy(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value not in NEUTRAL
