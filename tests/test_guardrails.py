"""Known failures stay fixed: the guardrails, asked about this repository (`pytest -m guardrails`)."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from stages.__main__ import app
from stages.commands.check import refusal_of
from stages.contracts.settings import everything, find_problems
from stages.flows.guardrails.hashes import version_problems
from stages.flows.guardrails.packages import package_problems
from stages.flows.guardrails.pages import BUDGETS, budget_problems
from stages.flows.guardrails.policy import policy_problems
from stages.flows.guardrails.references import reference_problems
from stages.flows.guardrails.scripts import script_problems

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.guardrails
IMPORTS = """
import accelerate, cv2, diffusers, hydra, huggingface_hub, imagehash, insightface, omegaconf, onnxruntime, peft
import prodigyopt, pydantic, safetensors, torch, transformers
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from insightface.app import FaceAnalysis
from peft import LoraConfig
from transformers import Blip2ForConditionalGeneration, CLIPTextModel
"""
# Settings that contradict each other: section, key, value, and what is said of it.
CONFLICTS = [
    ("train", {"cache_text": True}, "cache_text"),
    ("train", {"text_encoders": False, "cache_text": True, "captions": {"shuffle": True}}, "shuffle"),
    ("train", {"dora": True, "rslora": True}, "rslora"),
    ("train", {"warmup_steps": 500}, "warmup_steps"),
    ("train", {"checkpoint_every": 501}, "checkpoint_every"),
    ("judges", {"faces": {"pose": {"half": 40.0, "profile": 30.0}}}, "half"),
]


def refuse(words: list[str]) -> str:
    return refusal_of(typer.main.get_command(app))(words)


def test_the_pinned_packages_are_installed_found_and_content_with_each_other() -> None:
    assert package_problems(ROOT / "constraints.txt") == []


def test_the_models_libraries_can_be_imported_together() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_script_compiles() -> None:
    assert script_problems(ROOT) == []


def test_no_page_setting_or_stage_names_what_is_not_there() -> None:
    assert reference_problems(ROOT, refuse) == []


def test_the_policy_is_whole_and_the_only_one() -> None:
    assert policy_problems(ROOT) == []


def test_pages_keep_to_their_budgets() -> None:
    assert budget_problems(ROOT) == []
    made = {"docs/findings.md", "docs/tasks.md"}
    assert [page for page in BUDGETS if page not in made and not (ROOT / page).exists()] == []


def test_versions_are_those_of_the_history() -> None:
    assert version_problems(ROOT) == []


@pytest.mark.parametrize(("section", "changes", "said"), CONFLICTS, ids=[conflict[2] for conflict in CONFLICTS])
def test_settings_that_contradict_each_other_are_refused(section: str, changes: dict[str, Any], said: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert find_problems(everything(), values) == []
    merge(values[section], changes)
    assert any(said in problem for problem in find_problems(everything(), values))


def merge(values: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(values[key], value)
        else:
            values[key] = value


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (["check", "--strict"], True), (["check", "--strickt"], False), (["models", "get", "--all"], True),
        (["models", "gte"], False), (["caption", "photos/"], True), (["caption", "lint", "--dorp"], False),
        (["pod", "cycle", "--max-usd", "5"], True), ([], True), (["..."], True), (["findings", "promote"], True),
    ],
)  # fmt: skip
def test_a_command_line_is_known_by_its_words_and_options(words: list[str], known: bool) -> None:
    assert (refuse(words) == "") is known
