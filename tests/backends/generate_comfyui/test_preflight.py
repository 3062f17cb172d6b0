"""A graph is checked against the nodes and models of a server, in the words of who must mend it."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from stages.backends.generate.comfyui.preflight import find_graph_problems

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests/comfyui/recorded"
INFO: dict[str, Any] = {}
for _file in sorted(RECORDED.glob("object_info_*.json")):
    INFO |= {name: info for name, info in json.loads(_file.read_text()).items() if info}
MODEL_LISTS = {"ckpt_name", "lora_name", "control_net_name", "instantid_file", "ipadapter_file", "clip_name", "image"}
GRAPHS = sorted((ROOT / "conf/workflows").glob("*.json"))


def stocked(name: str, graph: dict[str, Any]) -> dict[str, Any] | None:
    """The recorded node, on a server that has the models which the graph names."""
    if name not in INFO:
        return None
    info = deepcopy(INFO[name])
    for inputs in (info["input"].get("required", {}), info["input"].get("optional", {})):
        for label in MODEL_LISTS & inputs.keys():
            named = [n["inputs"][label] for n in graph.values() if n["class_type"] == name and label in n["inputs"]]
            inputs[label][0] = named
    return info


def problems(graph: dict[str, Any], info: dict[str, Any] | None = None) -> list[str]:
    return find_graph_problems(
        graph, (lambda name: (info or INFO).get(name)) if info else (lambda n: stocked(n, graph))
    )


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_every_workflow_passes_on_a_server_with_its_nodes_and_models(path: Path) -> None:
    assert problems(json.loads(path.read_text())) == []


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_every_model_file_that_a_workflow_names_is_missed_where_it_is_not(path: Path) -> None:
    graph = json.loads(path.read_text())
    named = {v for n in graph.values() for k, v in n["inputs"].items() if k in MODEL_LISTS - {"image"}}
    empty = deepcopy(INFO)
    for info in empty.values():
        for label in MODEL_LISTS & info["input"].get("required", {}).keys():
            info["input"]["required"][label][0] = []
    said = " ".join(problems(graph, empty))
    assert all(f"{name!r} is not on the server (there is: none at all)" in said for name in named)
    assert named


def test_nodes_that_are_not_installed_are_named_with_their_pack() -> None:
    graph = json.loads((ROOT / "conf/workflows/lora_instantid.json").read_text())
    bare = {name: info for name, info in INFO.items() if "InstantID" not in name}
    assert "no node ApplyInstantID of ComfyUI_InstantID is installed" in problems(graph, bare)


@pytest.mark.parametrize(
    ("role", "change", "said"),
    [
        ("@sampler", {"sampler_name": "nosuch"}, "'nosuch' is not on the server"),
        ("@sampler", {"cfg": 1000.0}, "1000 is not between 0.0 and 100.0"),
        ("@sampler", {"steps": "many"}, "'many' is no number"),
        ("@sampler", {"model": ["99", 0]}, "linked to node 99, which the graph does not have"),
        ("@decode", {"samples": ["1", 0]}, "wants LATENT, but node 1 gives MODEL"),
        ("@decode", {"samples": ["1", 7]}, "linked to output 7 of node 1, which has 3"),
    ],
)
def test_wrong_values_and_links_are_said(role: str, change: dict[str, Any], said: str) -> None:
    graph = json.loads((ROOT / "conf/workflows/text_to_image.json").read_text())
    node = next(node for node in graph.values() if node["_meta"]["title"] == role)
    node["inputs"] |= change
    assert any(said in problem for problem in problems(graph))


def test_an_input_that_is_left_out_is_said() -> None:
    graph = json.loads((ROOT / "conf/workflows/text_to_image.json").read_text())
    node = next(node for node in graph.values() if node["_meta"]["title"] == "@sampler")
    del node["inputs"]["denoise"]
    assert [p for p in problems(graph) if "denoise is missing" in p]


def test_the_newer_form_of_choices_is_understood() -> None:
    graph = {"1": {"class_type": "K", "inputs": {"name": "b"}}}
    info: dict[str, Any] = {"K": {"input": {"required": {"name": ["COMBO", {"options": ["a"]}]}}, "output": []}}
    assert "'b' is not on the server (there is: a)" in problems(graph, info)[0]
    info["K"]["input"]["required"]["name"][1]["options"].append("b")
    assert problems(graph, info) == []
