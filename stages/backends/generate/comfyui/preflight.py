"""A graph against what a server has: every problem at once, before anything is sent."""

from collections.abc import Callable, Iterator
from typing import Any

from stages.contracts.workflows import Graph

NodeInfo = Callable[[str], dict[str, Any] | None]
# Where to get nodes that ComfyUI itself does not have.
PACKS = {"InstantID": "ComfyUI_InstantID", "IPAdapter": "ComfyUI_IPAdapter_plus"}
UPLOADED = ("LoadImage", "LoadImageMask")  # their lists were made before we uploaded


def find_graph_problems(graph: Graph, info: NodeInfo) -> list[str]:
    """What a server would refuse, in the words of a person who must mend it.

    Args:
        graph: filled in.
        info: a node class's entry of /object_info, None where there is none.
    """
    known = {number: info(node["class_type"]) for number, node in graph.items()}
    problems = []
    for number, node in graph.items():
        name, described = node["class_type"], known[number]
        if described is None:
            pack = next((f" of {pack}" for word, pack in PACKS.items() if word in name), "")
            problems.append(f"no node {name}{pack} is installed")
            continue
        for label, problem in _node_problems(node, described, known):
            problems.append(f"node {number} ({name}): {label} {problem}")
    return list(dict.fromkeys(problems))


def _node_problems(
    node: dict[str, Any], described: dict[str, Any], known: dict[str, dict[str, Any] | None]
) -> Iterator[tuple[str, str]]:
    inputs = described.get("input", {})
    for label in inputs.get("required", {}):
        if label not in node["inputs"]:
            yield label, "is missing"
    for label, wanted in (inputs.get("required", {}) | inputs.get("optional", {})).items():
        if label in node["inputs"]:
            problem = _value_problem(node["inputs"][label], wanted, known, node["class_type"] in UPLOADED)
            if problem:
                yield label, problem


def _value_problem(value: Any, wanted: list[Any], known: dict[str, Any], uploaded: bool) -> str:
    kind, rules = wanted[0], wanted[1] if len(wanted) > 1 and isinstance(wanted[1], dict) else {}
    if isinstance(value, list):
        return _link_problem(value, kind, known)
    choices = kind if isinstance(kind, list) else rules.get("options") if kind == "COMBO" else None
    if choices is not None:
        if value in choices or uploaded:
            return ""
        there = ", ".join(map(str, choices[:8])) or "none at all"
        return f"{value!r} is not on the server (there is: {there}{', ...' if len(choices) > 8 else ''})"
    if kind in ("INT", "FLOAT"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is no number"
        if not rules.get("min", value) <= value <= rules.get("max", value):
            return f"{value:g} is not between {rules.get('min')} and {rules.get('max')}"
    return ""


def _link_problem(link: list[Any], kind: Any, known: dict[str, Any]) -> str:
    number, slot = str(link[0]), link[1]
    if number not in known:
        return f"is linked to node {number}, which the graph does not have"
    gives = (known[number] or {}).get("output")
    if gives is None:
        return ""
    if not 0 <= slot < len(gives):
        return f"is linked to output {slot} of node {number}, which has {len(gives)}"
    given = gives[slot]
    if isinstance(kind, str) and isinstance(given, str) and "*" not in (given, kind) and not (
        set(given.split(",")) & set(kind.split(","))
    ):  # fmt: skip
        return f"wants {kind}, but node {number} gives {given}"
    return ""
