"""The proof tells an exact resume from one that is not, and leaves the workspace alone."""

from pathlib import Path

import pytest

from stages.flows import proof
from stages.flows.proof import Proof, prove_resume
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_path


def test_a_proof_needs_equal_bytes_and_a_resume() -> None:
    same = {"a": "1"}
    assert Proof(4, (2,), (2,), same, same).holds
    assert not Proof(4, (2,), (2,), same, {"a": "2"}).holds
    assert not Proof(4, (2,), (), same, same).holds


def test_without_a_manifest_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro manifest"):
        prove_resume(4, 1, workspace=tmp_path)


@pytest.mark.slow
def test_resume_is_exact_here_and_the_workspace_stays_as_it_was(tiny_training: Path) -> None:
    before = hash_path(tiny_training)
    found = prove_resume(6, 2, workspace=tiny_training)
    assert found.holds, found
    assert hash_path(tiny_training) == before


def test_the_short_training_differs_from_the_recipe_only_in_its_length_and_in_how_often_it_saves() -> None:
    params = {"train": {"steps": 2000, "warmup_steps": 100, "rank": 8, "seed": 3}, "machine": {"threads": 2}, "eval": 1}
    short = proof._shortened(params, 9)
    assert short == {
        "train": {"steps": 9, "warmup_steps": 0, "rank": 8, "seed": 3, "checkpoint_every": 4, "holdout_every": 2},
        "machine": {"threads": 2, "state_dir": "state", "save_seconds": 0}, "eval": 1,
    }  # fmt: skip
    assert params["train"]["steps"] == 2000
    few = proof._shortened({"train": {}}, 1)["train"]
    assert (few["checkpoint_every"], few["holdout_every"]) == (1, 1)


def test_the_step_before_the_first_is_not_one_that_was_told(tmp_path: Path) -> None:
    assert proof._told(tmp_path) == 0
    record = tmp_path / "state/train/abc/steps.jsonl"
    record.parent.mkdir(parents=True)
    for lines, steps in ((0, 0), (1, 0), (2, 1), (5, 4)):
        record.write_text("{}\n" * lines)
        assert proof._told(tmp_path) == steps


def test_a_run_is_killed_at_every_place_once_and_then_left_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs themselves are made up: what was asked of the two copies, and what their logs said."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text("{}")
    (tmp_path / "params.yaml").write_text("train: {steps: 100}")
    asked: list[tuple[str, int | None]] = []
    copies: list[Path] = []

    def of(folder: Path) -> str:
        if folder not in copies:
            copies.append(folder)
        return f"copy {copies.index(folder)}"

    def run(folder: Path) -> None:
        asked.append((of(folder), None))
        (folder / "train.log").write_text("step 1\ntrain: resumed at step 4\nx\ntrain: resumed at step 7\n")
        (folder / "models/lora").mkdir()
        (folder / "models/lora/a.safetensors").write_text(of(folder))
        for inside in ("metrics/loss.csv", "metrics/train_samples.png"):
            (folder / inside).parent.mkdir(exist_ok=True)
            (folder / inside).write_text("x")

    def kill(folder: Path, step: int) -> int:
        asked.append((of(folder), step))
        return step + 1

    monkeypatch.setattr(proof, "_run", run)
    monkeypatch.setattr(proof, "_kill", kill)
    monkeypatch.setattr(proof, "hash_path", lambda path: path.read_text() if path.is_file() else "none")
    found = proof.prove_resume(9, 3, seed=2, workspace=tmp_path)
    places = [step for _, step in asked[1:-1]]
    assert asked == [("copy 0", None), *(("copy 1", step) for step in places), ("copy 1", None)]
    assert places == sorted(set(places))
    assert len(places) == 3
    assert set(places) <= set(range(1, 9))
    assert found.killed_after == tuple(step + 1 for step in places)
    assert (found.steps, found.resumed_at) == (9, (4, 7))
    assert (found.undisturbed["models/lora/a.safetensors"], found.killed["models/lora/a.safetensors"]) == (
        "copy 0", "copy 1",
    )  # fmt: skip
    assert not found.holds
    assert not any(copy.exists() for copy in copies)
