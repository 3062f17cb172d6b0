"""docs/comfyui.md says of samplers, roles and model files what the code and the graphs say."""

import json
import re
from pathlib import Path

from stages.contracts.workflows import ROLES
from stages.reports.comfyui import render_samplers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/comfyui.md").read_text()


def test_the_table_of_samplers_is_the_printed_one() -> None:
    assert f"<!-- samplers -->\n{render_samplers()}\n<!-- /samplers -->" in PAGE
    assert render_samplers().count("\n") == 1 + 6 * 3


def test_every_role_is_explained() -> None:
    explained = set(re.findall(r"`@(\w+)`", PAGE))
    assert explained == set(ROLES)


def test_the_files_of_the_modes_are_those_that_the_graphs_name() -> None:
    for name in ("lora_instantid", "lora_ipadapter_faceid"):
        graph = json.loads((ROOT / f"conf/workflows/{name}.json").read_text())
        for node in graph.values():
            for label in ("instantid_file", "control_net_name", "ipadapter_file"):
                assert str(node["inputs"].get(label, "")) in PAGE
