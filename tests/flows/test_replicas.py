"""Replicas: the same recipe with other seeds, by the real stages, in a copy that leaves the workspace alone."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from workspaces import PARAMS, TRAIN, make_workspace

from stages.contracts.manifest import read_manifest
from stages.contracts.scorecard import Scorecard, read_scorecard, write_scorecard
from stages.contracts.settings import Thresholds
from stages.flows.replicas import check_recipe, link_workspace, replicate
from stages.flows.versions import promote
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file, hash_path

WriteRun = Callable[..., Scorecard]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_run: WriteRun) -> Scorecard:
    """A workspace that holds a run of version v3."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/manifest.json").write_text("{}")
    Path("params.yaml").write_text(yaml.safe_dump({"train": TRAIN}))
    card = write_run(Path("metrics"), "v3")
    card = card.model_copy(update={"dataset_manifest_sha256": hash_file(Path("data/manifest.json"))})
    write_scorecard(card)
    write_scorecard(card, Path("metrics/versions/v3/scorecard.json"))
    return card


def test_a_version_that_does_not_exist_is_refused(trained: Scorecard) -> None:
    with pytest.raises(UserError, match=r"no version 'v4' \(there is: v3\)"):
        next(replicate("v4", 1))


def test_a_workspace_with_another_run_is_refused_with_what_to_do(trained: Scorecard) -> None:
    write_scorecard(trained.model_copy(update={"run_id": "0" * 12}))
    with pytest.raises(UserError, match=r"holds run 000000000000.*git worktree add ../v3 lora/v3"):
        check_recipe("v3", trained, Path())


def test_another_manifest_is_refused(trained: Scorecard) -> None:
    Path("data/manifest.json").write_text("{ }")
    with pytest.raises(UserError, match="not the one that v3 was trained on"):
        check_recipe("v3", trained, Path())


def test_settings_that_were_changed_since_are_refused(trained: Scorecard) -> None:
    lock = {"stages": {"train": {"params": {"params.yaml": {"train": TRAIN}}}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    check_recipe("v3", trained, Path())
    Path("params.yaml").write_text(yaml.safe_dump({"train": TRAIN | {"rank": 8}}))
    with pytest.raises(UserError, match=r"params\.yaml: train: not what the last"):
        check_recipe("v3", trained, Path())


def test_a_copy_shares_what_goes_in_and_has_results_of_its_own(tmp_path: Path) -> None:
    source, copy = tmp_path / "a", tmp_path / "b"
    for inside in (
        "data/photos/1.png",
        "data/eval/old.png",
        "models/base/x",
        "models/lora/old",
        "metrics/old",
        ".git/x",
    ):
        (source / inside).parent.mkdir(parents=True, exist_ok=True)
        (source / inside).write_text(inside)
    link_workspace(source, copy, {"train": {"seed": 1}})
    (copy / "models/lora").mkdir()
    (copy / "models/lora/new").write_text("kept")
    link_workspace(source, copy, {"train": {"seed": 1}})  # as a continued run does
    assert (copy / "data/photos/1.png").read_text() == "data/photos/1.png"
    assert (copy / "models/lora/new").read_text() == "kept"
    assert sorted(str(path.relative_to(copy)) for path in copy.glob("*/*")) == [
        "data/photos", "models/base", "models/lora",
    ]  # fmt: skip
    assert yaml.safe_load((copy / "params.yaml").read_text()) == {"train": {"seed": 1}}
    assert not (copy / ".git").exists()


def run(stage: str) -> None:
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_replica_is_trained_and_judged_by_the_real_stages(
    judges: None, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_workspace(tmp_path, steps=())
    shutil.rmtree("base")
    shutil.copytree(tiny_base, "base")
    train = TRAIN | {"prior_batch": 0}
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS | {"train": train}))
    for stage in ("train", "sweep", "eval"):
        run(stage)
    promote("v1", Thresholds(promotion_grade="D"), force=True, why="a test's LoRA is good for nothing")
    before = {path: hash_path(Path(path)) for path in ("data", "models", "metrics/scorecard.json", "params.yaml")}
    made = list(replicate("v1", 1))
    assert made == [(Path("metrics/versions/v1/replicas/seed-1"), False)]
    assert {path: hash_path(Path(path)) for path in before} == before
    card, own = read_scorecard(made[0][0] / "scorecard.json"), read_scorecard()
    assert (card.protocol, card.dataset_manifest_sha256) == (own.protocol, own.dataset_manifest_sha256)
    assert card.lora_sha256 != own.lora_sha256
    assert json.loads((made[0][0] / "scorecard.json").read_text())["images_evaluated"] == own.images_evaluated
    assert len(read_manifest().images) == 20
    assert not list(Path("state/replicate").glob("*/workspace"))
    assert "training seed 1: eval" in capfd.readouterr().err
    assert list(replicate("v1", 1)) == [(made[0][0], True)]


def test_a_lora_from_elsewhere_has_no_recipe_to_train_again(trained: Scorecard) -> None:
    card = trained.model_copy(update={"lora_dataset": "unknown"})
    write_scorecard(card, Path("metrics/versions/v3/scorecard.json"))
    with pytest.raises(UserError, match="v3 was not trained on these photos"):
        next(replicate("v3", 1))
