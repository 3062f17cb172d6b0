"""Workflows are filled by role; what cannot be filled is said with the file and the role."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages.contracts.workflows import read_workflow
from stages.runtime.errors import UserError

WORKFLOWS = Path(__file__).parents[2] / "conf/workflows"


def node(kind: str, title: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}


def small() -> dict[str, Any]:
    return {
        "a": node("CheckpointLoaderSimple", "@checkpoint", ckpt_name="x"),
        "b": node("CLIPTextEncode", "@prompt", text=""),
        "c": node("KSampler", "@sampler", seed=0), "d": node("SaveImage", "@save", filename_prefix=""),
        "e": node("Note", "a remark"),
    }  # fmt: skip


def write(folder: Path, graph: Any) -> Path:
    path = folder / "w.json"
    path.write_text(graph if isinstance(graph, str) else json.dumps(graph))
    return path


def test_nodes_are_found_by_title_whatever_their_numbers(tmp_path: Path) -> None:
    workflow = read_workflow(write(tmp_path, small()))
    filled = workflow.fill({"prompt": {"text": "hello"}})
    assert filled["b"]["inputs"] == {"text": "hello"}
    assert filled["e"] == small()["e"]
    assert workflow.graph == small()
    renumbered = {f"9{key}": value for key, value in small().items()}
    assert read_workflow(write(tmp_path, renumbered)).roles == {role: f"9{n}" for role, n in workflow.roles.items()}


def test_titles_of_other_nodes_are_no_part_of_what_a_workflow_means(tmp_path: Path) -> None:
    first = read_workflow(write(tmp_path, small())).sha256
    renamed, changed = small(), small()
    renamed["e"]["_meta"]["title"] = "another remark"
    changed["c"]["inputs"]["seed"] = 1
    assert read_workflow(write(tmp_path, renamed)).sha256 == first
    assert read_workflow(write(tmp_path, changed)).sha256 != first


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ("{", "not JSON"),
        ({"nodes": [], "links": []}, "saved for the editor, not for the API"),
        ([], "not a graph of nodes"),
        ({"1": {"inputs": {}}}, "not a graph of nodes"),
        (small() | {"f": node("KSampler", "@sampler")}, "nodes c and f are both titled @sampler"),
        (small() | {"f": node("KSampler", "@sampel")}, "no role '@sampel'"),
        ({"a": small()["a"]}, "no node is titled @prompt, @sampler, @save"),
    ],
)
def test_a_file_that_cannot_be_filled_is_refused(tmp_path: Path, graph: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_workflow(write(tmp_path, graph))


def test_a_role_or_input_that_is_lacking_is_said(tmp_path: Path) -> None:
    workflow = read_workflow(write(tmp_path, small()))
    with pytest.raises(UserError, match="no node is titled @lora"):
        workflow.fill({"lora": {"lora_name": "x"}})
    with pytest.raises(UserError, match="@sampler is a KSampler without input cfg"):
        workflow.fill({"sampler": {"cfg": 1.0}})
    with pytest.raises(UserError, match="no such workflow"):
        read_workflow(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("text_to_image", "checkpoint noise prompt negative latent sampler decode save"),
        ("lora", "checkpoint noise lora prompt negative latent sampler decode save"),
        ("lora_instantid", "checkpoint noise lora prompt negative latent sampler decode save reference"),
        ("lora_ipadapter_faceid", "checkpoint noise lora prompt negative latent sampler decode save reference"),
        ("inpaint", "checkpoint noise lora prompt negative sampler decode save image mask"),
    ],
)
def test_the_workflows_of_conf_have_their_roles(name: str, roles: str) -> None:
    assert read_workflow(WORKFLOWS / f"{name}.json").roles.keys() == set(roles.split())
