"""dvc.yaml, the stages' docstrings, their Params and contracts/paths.py say the same."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.contracts import paths
from stages.contracts.settings import SECTIONS, Section

ROOT = Path(__file__).parent.parent
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = sorted(PIPELINE)
SETTINGS_PATH = re.compile(r"\$\{(\w+)\.")


def outputs(stage: dict[str, Any]) -> set[str]:
    """Every path that a stage writes, whether it is declared as out, metric or plot."""
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def data_deps(stage: dict[str, Any]) -> set[str]:
    """The artifacts that a stage reads: neither code nor conf/, nor a folder that settings name."""
    return {dep for dep in stage["deps"] if not dep.startswith(("stages/", "conf/", "${"))}


def stated(docstring: str, word: str) -> set[str]:
    """The paths after ``reads:`` or ``writes:`` in a stage's docstring."""
    match = re.search(rf"^{word}:\s*(.+?)(?=^\w+:|^$|\Z)", docstring, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"(?:data|models|metrics)/[\w./<>-]*[\w>]", match[1])) if match else set()


def docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((ROOT / "stages" / f"{name}.py").read_text())) or ""


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_s_docstring_states_what_it_writes(name: str) -> None:
    assert stated(docstring(name), "writes") == outputs(PIPELINE[name])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_s_docstring_states_what_it_reads(name: str) -> None:
    reads = {re.sub(r"/(<\w+>|\$\{.*\})$", "", path) for path in stated(docstring(name), "reads")}
    assert reads == {re.sub(r"/\$\{.*\}$", "", path) for path in data_deps(PIPELINE[name])}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_exactly_the_sections_that_it_reads(name: str) -> None:
    params: type[Section] = importlib.import_module(f"stages.{name}").Params
    assert list(params.model_fields) == PIPELINE[name]["params"]
    assert all(field.annotation is SECTIONS[section] for section, field in params.model_fields.items())
    assert "machine" not in params.model_fields


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_run_as_a_module_and_is_a_dependency_of_itself(name: str) -> None:
    assert PIPELINE[name]["cmd"] == f"python -m stages.{name}"
    assert f"stages/{name}.py" in PIPELINE[name]["deps"]


def test_every_code_dependency_exists() -> None:
    code = {dep for stage in PIPELINE.values() for dep in stage["deps"] if dep.startswith("stages/")}
    assert [dep for dep in sorted(code) if not (ROOT / dep).exists()] == []


def test_every_output_is_a_path_of_the_contracts_and_has_one_writer() -> None:
    written = [out for stage in PIPELINE.values() for out in sorted(outputs(stage))]
    assert len(written) == len(set(written))
    known = {str(value) for value in vars(paths).values() if isinstance(value, Path)}
    assert set(written) <= known


def test_every_artifact_that_is_read_is_written_by_an_earlier_stage() -> None:
    written: set[str] = set()
    for name, stage in PIPELINE.items():
        missing = {dep for dep in data_deps(stage) if not dep.startswith("metrics/versions/")} - written
        assert not missing, name
        written |= outputs(stage)


def test_no_cached_out_disables_the_run_cache() -> None:
    entries = [entry for stage in PIPELINE.values() for entry in stage.get("outs", [])]
    assert all(isinstance(entry, str) for entry in entries)


def test_a_planted_difference_is_noticed() -> None:
    text = "Do it.\n\nreads: data/captions, data/manifest.json (split)\nwrites: models/lora, metrics/loss.csv\n"
    assert stated(text, "reads") == {"data/captions", "data/manifest.json"}
    assert stated(text, "writes") == {"models/lora", "metrics/loss.csv"}
    assert stated(text.replace("loss.csv", "lost.csv"), "writes") != outputs(PIPELINE["train"])
