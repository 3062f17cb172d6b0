"""Which trainings a replica runs, with stages that only note what they were given."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from workspaces import TRAIN

from stages.contracts.scorecard import Scorecard, write_scorecard
from stages.flows import replicas
from stages.flows.replicas import replicate
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file

Ran = list[tuple[str, int]]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., Scorecard]) -> Ran:
    """A workspace that holds v3, trained with seed 40; what the stages were asked for, in order."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/manifest.json").write_text("{}")
    params = {"train": TRAIN | {"seed": 40}, "machine": {"state_dir": "state", "threads": 1}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    card = write_run(Path("metrics"), "v3")
    card = card.model_copy(update={"dataset_manifest_sha256": hash_file(Path("data/manifest.json"))})
    write_scorecard(card)
    write_scorecard(card, Path("metrics/versions/v3/scorecard.json"))
    asked: Ran = []

    def note(stage: str, folder: Path, whose: str) -> None:
        settings = yaml.safe_load((folder / "params.yaml").read_text())
        seed = settings["train"]["seed"]
        assert whose == f"v3, training seed {seed}"
        assert settings["machine"]["threads"] == 1
        assert Path(settings["machine"]["state_dir"]) == folder.parent / "state"
        asked.append((stage, seed))
        if stage == "eval":
            write_run(folder / "metrics", "v3", noise=seed)
            (folder / "metrics/per_image.csv").write_text(f"of seed {seed}\n")

    monkeypatch.setattr(replicas, "_run_stage", note)
    return asked


def scores(seed: int) -> str:
    return Path(f"metrics/versions/v3/replicas/seed-{seed}/per_image.csv").read_text()


def test_every_replica_has_the_next_seed_and_goes_through_all_stages_in_order(ran: Ran) -> None:
    folders = list(replicate("v3", 3))
    assert folders == [(Path(f"metrics/versions/v3/replicas/seed-{seed}"), False) for seed in (41, 42, 43)]
    assert ran == [(stage, seed) for seed in (41, 42, 43) for stage in ("train", "sweep", "eval")]
    assert [scores(seed) for seed in (41, 42, 43)] == [f"of seed {seed}\n" for seed in (41, 42, 43)]
    assert yaml.safe_load(Path("params.yaml").read_text())["train"]["seed"] == 40
    assert not list(Path("state/replicate").glob("*/workspace"))


def test_a_replica_that_is_there_is_not_made_again(ran: Ran) -> None:
    list(replicate("v3", 1))
    ran.clear()
    assert [there for _, there in replicate("v3", 2)] == [True, False]
    assert {seed for _, seed in ran} == {42}


def test_a_replica_that_failed_continues_with_the_stage_that_failed(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    note = replicas._run_stage

    def fail(stage: str, folder: Path, whose: str) -> None:
        if stage == "sweep":
            raise UserError("stages.sweep", "exit code 1")
        note(stage, folder, whose)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="exit code 1"):
        patch.setattr(replicas, "_run_stage", fail)
        list(replicate("v3", 1))
    assert ran == [("train", 41)]
    assert not Path("metrics/versions/v3/replicas/seed-41").exists()
    list(replicate("v3", 1))
    assert ran == [("train", 41), ("sweep", 41), ("eval", 41)]
