"""conf/workflows/: ComfyUI graphs under version control, whose nodes are filled by role and not by number.

A workflow is what ComfyUI's editor saves as "API format": node id -> {class_type, inputs, _meta}.  The title of a node
that is filled for every picture is its role behind an @, for example ``@sampler``; every other node stays as it is.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_json

Graph = dict[str, dict[str, Any]]
Filling = Mapping[str, Mapping[str, Any]]  # role -> input -> value

ROLES: dict[str, str] = {
    "checkpoint": "loads the base model", "noise": "says how the base was noised (ModelSamplingDiscrete)",
    "lora": "applies the LoRA", "prompt": "reads the prompt", "negative": "reads the negative prompt",
    "latent": "makes the empty picture", "sampler": "draws", "decode": "turns latents into a picture",
    "save": "writes the picture", "reference": "loads the photo that conditions the face",
    "image": "loads the picture to change", "mask": "loads the mask of what to change",
}  # fmt: skip
NEEDED = frozenset({"checkpoint", "prompt", "sampler", "save"})
TODO = "export it with ComfyUI's Workflow > Export (API)"


@dataclass(frozen=True)
class Workflow:
    """A graph and where its roles are."""

    path: Path
    graph: Graph
    roles: dict[str, str]  # role -> node id

    @property
    def sha256(self) -> str:
        """The hash of what it means: node titles and the order of keys in the file are no part of it."""
        plain = {
            number: {key: value for key, value in node.items() if key != "_meta"} for number, node in self.graph.items()
        }
        return hash_json([plain, self.roles])

    def fill(self, filling: Filling) -> Graph:
        """The graph of one picture.

        A role that the graph lacks is an error only if leaving it out would change the picture's meaning, so callers
        say in ``filling`` just what must be said.

        Raises:
            UserError: when the graph has no such role, or its node no such input.
        """
        graph = deepcopy(self.graph)
        for role, inputs in filling.items():
            if role not in self.roles:
                raise UserError(self.path, f"no node is titled @{role} ({ROLES[role]})", "title one so")
            node = graph[self.roles[role]]
            unknown = sorted(set(inputs) - set(node["inputs"]))
            if unknown:
                what = f"@{role} is a {node['class_type']} without input {', '.join(unknown)}"
                raise UserError(self.path, what, "use a node that has it")
            node["inputs"] |= inputs
        return graph


def read_workflow(path: Path) -> Workflow:
    """Read a workflow.

    Raises:
        UserError: when it is missing, not a graph in API format, or its roles are unknown, double or too few.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(path, "no such workflow", "see conf/workflows and comfyui.workflows") from None
    except (OSError, ValueError) as error:
        raise UserError(path, f"not JSON ({error})", TODO) from None
    if isinstance(graph, dict) and "nodes" in graph:
        raise UserError(path, "saved for the editor, not for the API", TODO)
    nodes = list(graph.values()) if isinstance(graph, dict) else []
    if not nodes or not all(
        isinstance(n, dict) and isinstance(n.get("inputs"), dict) and "class_type" in n for n in nodes
    ):
        raise UserError(path, "not a graph of nodes with class_type and inputs", TODO)
    return Workflow(path, graph, _find_roles(path, graph))


def _find_roles(path: Path, graph: Graph) -> dict[str, str]:
    roles: dict[str, str] = {}
    for number, node in graph.items():
        title = str((node.get("_meta") or {}).get("title", ""))
        if not title.startswith("@"):
            continue
        role = title[1:].strip()
        if role not in ROLES:
            raise UserError(path, f"node {number}: no role {title!r}", f"known: {', '.join('@' + r for r in ROLES)}")
        if role in roles:
            raise UserError(path, f"nodes {roles[role]} and {number} are both titled {title}", "rename one")
        roles[role] = number
    missing = sorted(NEEDED - roles.keys())
    if missing:
        raise UserError(path, f"no node is titled {', '.join('@' + role for role in missing)}", "title one so")
    return roles
