"""docs/outputs.md names every artifact with its stage and its keeper, and every column and field of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from stages.contracts import paths
from stages.contracts.code_lock import CodeLock
from stages.contracts.comparison import (
    METRICS,
    Comparison,
    ConfigDifference,
    MetricComparison,
    Recommendation,
    Version,
)
from stages.contracts.history import Promotion
from stages.contracts.lora import DATASET, MANIFEST_KEY, VERSION_KEY
from stages.contracts.manifest import Manifest, Photo, Summary
from stages.contracts.models import Hash
from stages.contracts.regularization import ClassImage
from stages.contracts.scorecard import PER_IMAGE_COLUMNS, Anchors, Cell, Choice, Interval, Scorecard, Settings
from stages.flows.scoring import Score
from stages.flows.training import COLUMNS as LOSS_COLUMNS
from stages.measures.skin import NO_FACE
from stages.runtime.progress import HEARTBEAT, Progress
from stages.sweep import summarise

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "outputs.md").read_text()
CODE = re.compile(r"`([^`]+)`")


def artifacts() -> dict[str, tuple[str, str]]:
    """Every out, metric and plot of dvc.yaml: its stage, and who keeps it."""
    found = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        for out in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
            path, options = (out, {}) if isinstance(out, str) else next(iter(out.items()))
            found[path] = (name, "DVC" if options.get("cache", True) else "git")
    return found


def told(page: str) -> dict[str, tuple[str, str]]:
    """The same, as the page's first table tells it."""
    table = page.split("## What the stages write")[1].split("\n##")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| `" in f" {line}"]
    return {row[0].strip("`"): (row[1], row[-1]) for row in rows if row[0].startswith("`")}


def section(heading: str, page: str = PAGE) -> str:
    """The text under the heading that names ``heading``."""
    parts = re.split(r"^#{2,3} ", page, flags=re.MULTILINE)
    (found,) = [part for part in parts if heading in part.splitlines()[0]]
    return found


def listed(text: str) -> set[str]:
    """The names in the first column of a section's tables."""
    return {name for line in text.splitlines() if line.startswith("| `") for name in CODE.findall(line.split("|")[1])}


def sweep_columns() -> set[str]:
    score = Score(face_found=False, similarity=0.0, second_similarity=0.0, skin=NO_FACE, adherence=0.0)
    cell = Settings(base="b", mode="lora", checkpoint=1, lora="l", guidance=1.0, sampler="ddim", strength=1.0)
    return {"rank", *summarise([cell], [score], 0.6)[0]}


TABLES: dict[str, set[str]] = {
    "metrics/loss.csv": set(LOSS_COLUMNS),
    "metrics/per_image.csv": set(PER_IMAGE_COLUMNS),
    "metrics/sweep_summary.csv": sweep_columns(),
    "metrics/scorecard.json": set(Scorecard.model_fields),
}
FIELDS: dict[str, list[type[BaseModel]]] = {
    "data/manifest.json": [Manifest, Photo, Summary],
    "data/regularization": [ClassImage],
    "metrics/sweep_choice.json": [Choice, Cell],
    "metrics/scorecard.json": [Interval, Anchors],
    "metrics/comparison.json": [Comparison, Version, MetricComparison, ConfigDifference, Recommendation],
    "What the commands write": [Promotion, CodeLock, Hash],
}


def test_every_output_of_dvc_yaml_is_told_with_its_stage_and_its_keeper() -> None:
    assert told(PAGE) == artifacts()


def test_a_planted_omission_is_noticed() -> None:
    shorter = "\n".join(line for line in PAGE.splitlines() if not line.startswith("| `metrics/report.md`"))
    assert artifacts().items() - told(shorter).items() == {("metrics/report.md", ("eval", "DVC"))}
    assert told(PAGE.replace("| `metrics/loss.csv` | train |", "| `metrics/loss.csv` | sweep |")) != artifacts()


@pytest.mark.parametrize("artifact", sorted(TABLES))
def test_a_table_s_columns_are_exactly_those_that_are_written(artifact: str) -> None:
    assert listed(section(artifact)) == TABLES[artifact]


@pytest.mark.parametrize(("artifact", "model"), [(name, model) for name, some in FIELDS.items() for model in some])
def test_every_field_of_an_artifact_is_named(artifact: str, model: type[BaseModel]) -> None:
    assert set(model.model_fields) - set(CODE.findall(section(artifact))) == set()


def test_every_path_that_the_code_knows_is_on_the_page() -> None:
    known = {str(value) for value in vars(paths).values() if isinstance(value, Path)} | {str(HEARTBEAT)}
    assert sorted(path for path in known if f"`{path}" not in PAGE) == []


def test_every_metric_and_the_header_s_keys_are_named() -> None:
    assert set(METRICS) <= set(CODE.findall(section("metrics/comparison.json")))
    assert {DATASET, MANIFEST_KEY, VERSION_KEY} <= set(CODE.findall(section("models/lora")))


def test_the_heartbeat_s_keys_are_those_that_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Progress("train", 1).advance(loss=0.5)
    beat: dict[str, Any] = json.loads(HEARTBEAT.read_text())
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{HEARTBEAT}`")]
    assert set(CODE.findall(row)) - {str(HEARTBEAT)} == set(beat)
