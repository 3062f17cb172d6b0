"""The GPU proof runs here at toy size, counts what the published counts are, and loses no case to another's failure."""

import json
import time
from pathlib import Path

import pytest
import torch

from bench import flops, gpu


def test_floating_point_operations_of_sdxl_are_those_of_the_published_counts() -> None:
    assert flops.count_forward("SDXL") == pytest.approx(6.76, abs=0.005)
    assert flops.count_decoding("SDXL") == pytest.approx(10.47, abs=0.005)


@pytest.mark.slow
def test_the_toy_proof_measures_every_kind_of_case_and_says_that_it_is_no_proof(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PISTACHIO_DIFFUSERS", "PISTACHIO_KOHYA"):
        monkeypatch.delenv(name, raising=False)
    assert gpu.main(["--toy", "--out", str(tmp_path / "toy.json")]) == 0
    assert "not yet run on a GPU" in capsys.readouterr().out
    found = json.loads((tmp_path / "toy.json").read_text(encoding="utf-8"))
    rows = {row["case"]: row for row in found["cases"]}
    assert {row["section"] for row in rows.values()} >= {"training", "peers", "drawing", "memory", "numerics"}
    eager, compiled = "train batch 2 rank 2, sdpa, adamw", "train batch 2 rank 2, sdpa, adamw, compiled blocks"
    assert rows[eager]["last_loss"] == pytest.approx(rows[compiled]["last_loss"], rel=1e-3)
    assert rows["bfloat16 training against float32"]["gradient_cosine"] > 0.99
    assert rows["train batch 2 rank 2, xformers, adamw"]["skipped"] == "xformers needs CUDA"
    assert all("clone" in row["skipped"] for row in rows.values() if row["section"] == "peers")
    assert not any("failed" in row for row in rows.values())


def test_a_case_that_fails_runs_out_of_memory_or_of_time_is_a_row_and_not_the_end() -> None:
    def fail() -> dict[str, object]:
        raise RuntimeError("no kernel")

    def fill() -> dict[str, object]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def last() -> dict[str, object]:
        time.sleep(10)
        return {}

    assert gpu.measure("a", fail, 5) == {"case": "a", "failed": "RuntimeError: no kernel"}
    assert gpu.measure("b", fill, 5) == {"case": "b", "skipped": "out of memory"}
    start = time.monotonic()
    assert "was not done" in gpu.measure("c", last, 0.2)["skipped"]
    assert time.monotonic() - start < 5
    assert gpu.measure("d", last, 0)["skipped"] == "no time left in its section"


def test_the_sections_share_the_seconds_and_the_full_list_has_what_the_proof_asks_for() -> None:
    assert sum(gpu.SHARES.values()) == pytest.approx(1)
    trainings, drawings = gpu.list_cases()
    every = [case for cases in trainings.values() for case in cases]
    assert {(c.batch, c.rank, c.checkpointing) for c in every if c.optimizer == "adamw"} >= {
        (batch, rank, checkpointing) for batch in (1, 4, 8) for rank in (16, 64) for checkpointing in (False, True)
    }
    assert {(c.steps, c.compiled) for c in drawings} == {(20, False), (20, True), (30, False), (30, True)}
    assert len({case.name for case in every}) == len(every)
