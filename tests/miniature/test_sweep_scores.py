"""Recording a sweep: every cell on every prompt and seed, in a workspace whose drawing is known."""

from pathlib import Path

import pytest
from drawing import Drawing

from miniature.sweep_scores import record
from stages.contracts.paths import PARAMS
from stages.contracts.settings import read_yaml


def test_every_cell_is_recorded_on_every_prompt_and_seed_and_taken_up_where_it_was(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(Drawing, "stop_at", 20)
    with pytest.raises(KeyboardInterrupt):
        record(read_yaml(PARAMS), seeds=(1, 2, 3))
    monkeypatch.setattr(Drawing, "stop_at", None)
    rows = record(read_yaml(PARAMS), seeds=(1, 2, 3))
    assert Drawing.drawn == 8 * 2 * 3
    assert [list(row) for row in rows] == [
        ["checkpoint", "guidance", "strength", "p0_s1", "p0_s2", "p0_s3", "p1_s1", "p1_s2", "p1_s3"]
    ] * 8
    full = [row for row in rows if (row["checkpoint"], row["strength"]) == (200, 1.0)]
    weak = [row for row in rows if (row["checkpoint"], row["strength"]) == (100, 0.5)]
    assert all(strong["p0_s1"] > faint["p0_s1"] for strong in full for faint in weak)
