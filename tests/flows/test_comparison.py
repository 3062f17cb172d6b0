"""Tables of two versions, of irregular shape: prompts with one seed and with three, rows in no order."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.contracts.comparison import METRICS, MetricComparison
from stages.contracts.scorecard import PER_IMAGE_COLUMNS
from stages.contracts.settings import Compare
from stages.flows.comparison import check_paired, compare_metrics, describe_metrics, read_pictures_table, recommend
from stages.runtime.errors import UserError

PLACES = [(2, 7), (0, 9), (1, 4), (0, 3), (2, 5), (0, 6), (3, 8), (4, 1), (5, 2)]  # prompts of 3, 1, 2, 1, 1, 1 seeds
SETTINGS = Compare(bootstrap=200, equivalence={"adherence": 0.5}, guarded=("adherence", "passed"))


def write(path: Path, shift: float = 0.0, places: list[tuple[int, int]] = PLACES, **columns: Any) -> Path:
    rows = [
        dict.fromkeys(PER_IMAGE_COLUMNS, 0.5)
        | {"set": name, "prompt_index": prompt, "seed": seed, "prompt": f"prompt {prompt}", "face_found": 1,
           "similarity": 0.1 * prompt + 0.01 * seed + shift if name == "lora" else -9.0, "pose": "frontal"}
        for name in ("base", "lora", "class") for prompt, seed in places
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    for column, values in columns.items():
        table.loc[table["set"] == "lora", column] = values
    table.to_csv(path, index=False)
    return path


def test_the_version_s_own_rows_are_read_by_prompt_and_seed(tmp_path: Path) -> None:
    found = read_pictures_table(write(tmp_path / "a.csv"), 0.6)
    ordered = sorted(PLACES)
    assert list(zip(found.prompt_index_N, found.seed_N, strict=True)) == ordered
    assert found.values["similarity"] == pytest.approx([0.1 * p + 0.01 * s for p, s in ordered])
    assert found.prompts == tuple(f"prompt {p}" for p, _ in ordered)
    assert set(found.values) == set(METRICS)


def test_a_picture_passes_at_today_s_bar_and_only_with_a_face(tmp_path: Path) -> None:
    similarity = [0.61, 0.6, 0.59, 0.7, 0.0, 0.9, 0.6, 0.2, 0.8]
    faces = [1, 1, 1, 0, 0, 1, 1, 1, 0]
    path = write(tmp_path / "a.csv", similarity=similarity, face_found=faces, passed=0)
    found = read_pictures_table(path, 0.6)
    expected = {place: float(s >= 0.6 and f) for place, s, f in zip(PLACES, similarity, faces, strict=True)}
    assert found.values["passed"].tolist() == [expected[place] for place in sorted(PLACES)]
    assert read_pictures_table(path, -1.0).values["passed"].sum() == 6


def test_the_table_that_lacks_a_picture_is_the_one_that_is_named(tmp_path: Path) -> None:
    whole = read_pictures_table(write(tmp_path / "whole.csv"), 0.6)
    short = read_pictures_table(write(tmp_path / "short.csv", places=PLACES[2:]), 0.6)
    for pair in ((whole, short), (short, whole)):
        with pytest.raises(UserError, match=r"short.csv: lacks prompt 0 with seed 9 \(2 pictures have no partner\)"):
            check_paired(*pair)
    check_paired(whole, whole)


def test_every_prompt_weighs_the_same_however_many_seeds_it_has(tmp_path: Path) -> None:
    pictures = read_pictures_table(write(tmp_path / "a.csv"), 0.6)
    frame = pd.DataFrame(PLACES, columns=["prompt", "seed"])
    mean = (0.1 * frame["prompt"] + 0.01 * frame["seed"]).groupby(frame["prompt"]).mean().mean()
    alone = {m.metric: m for m in describe_metrics(pictures, SETTINGS)}
    assert alone["similarity"].candidate == pytest.approx(mean)
    assert (alone["adherence"].margin, alone["similarity"].margin) == (0.5, 0.0)
    assert [name for name, m in alone.items() if m.guarded] == ["passed", "adherence"]
    assert list(alone) == list(METRICS)


def test_a_difference_is_candidate_minus_baseline_pair_by_pair(tmp_path: Path) -> None:
    before = read_pictures_table(write(tmp_path / "a.csv"), 0.6)
    after = read_pictures_table(write(tmp_path / "b.csv", 0.25, adherence=0.75), 0.6)
    found = {m.metric: m for m in compare_metrics(before, after, SETTINGS)}
    assert found["similarity"].delta == pytest.approx(0.25)
    assert found["similarity"].candidate - (found["similarity"].baseline or 0) == pytest.approx(0.25)
    assert found["adherence"].delta == pytest.approx(0.25)
    assert (found["adherence"].verdict, found["adherence"].margin) == ("EQUIVALENT", 0.5)
    assert found["texture_score"].delta == 0
    assert [name for name, m in found.items() if m.guarded] == ["passed", "adherence"]
    assert all(m.recipe is None for m in found.values())
    assert all(m.more_images is None for m in found.values() if m.verdict != "INCONCLUSIVE")


def test_a_replica_on_other_pictures_is_refused(tmp_path: Path) -> None:
    whole = read_pictures_table(write(tmp_path / "whole.csv"), 0.6)
    short = read_pictures_table(write(tmp_path / "short.csv", places=PLACES[1:]), 0.6)
    for replicas in (([short], []), ([], [short])):
        with pytest.raises(UserError, match="short.csv: lacks prompt 2 with seed 7"):
            compare_metrics(whole, whole, SETTINGS, replicas)


def metric(name: str, verdict: str, more: int | None = None, *, guarded: bool = False) -> MetricComparison:
    return MetricComparison.model_validate(
        {"metric": name, "candidate": 0.5, "verdict": verdict, "guarded": guarded, "more_images": more}
    )


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ([metric("a", "IMPROVED"), metric("b", "IMPROVED"), metric("c", "IMPROVED")],
         "Improved on a, b and c, regressed on nothing."),
        ([metric("a", "IMPROVED"), metric("b", "REGRESSED", guarded=True), metric("c", "REGRESSED")],
         "Regressed on the guarded b."),
        ([metric("a", "IMPROVED", guarded=True), metric("b", "REGRESSED"), metric("c", "REGRESSED")],
         "A trade: improved on a, regressed on b and c, none of these guarded."),
        ([metric("a", "REGRESSED"), metric("b", "EQUIVALENT")], "Regressed on a, improved on nothing."),
        ([metric("a", "EQUIVALENT")], "Equivalent on every metric: nothing is gained by changing."),
        ([metric("a", "INCONCLUSIVE", 300), metric("b", "INCONCLUSIVE", 40), metric("c", "INCONCLUSIVE"),
          metric("d", "EQUIVALENT")],
         "No improvement is proven, and a, b and c cannot be told apart yet; about 40 more pictures on new prompts "
         "would settle the nearest."),
        ([metric("a", "INCONCLUSIVE")], "No improvement is proven, and a cannot be told apart yet."),
    ],
)  # fmt: skip
def test_the_reason_names_the_metrics_that_it_rests_on(metrics: list[MetricComparison], reason: str) -> None:
    assert recommend(metrics, comparable=True).reason == reason


def test_without_a_baseline_nothing_is_recommended() -> None:
    found = recommend([metric("a", "IMPROVED")], comparable=False)
    assert (found.action, found.reason) == ("undecided", "There is no baseline to compare with.")


def test_the_resampling_has_its_own_seed_and_confidence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.1, len(PLACES))
    before = read_pictures_table(write(tmp_path / "a.csv"), 0.6)
    after = read_pictures_table(write(tmp_path / "b.csv", adherence=0.5 + noise), 0.6)

    def reach(**changes: Any) -> float:
        found = compare_metrics(before, after, SETTINGS.model_copy(update=changes))[METRICS.index("adherence")]
        assert found.interval
        return found.interval.high - found.interval.low

    assert reach() == reach()
    assert reach(seed=1) != reach()
    assert reach(confidence=0.6) < reach()
