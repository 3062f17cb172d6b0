"""The committed error rates keep their promises, stand on the page, and come out again."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from miniature.planted import LOST, METRICS, SAME, draw_scores
from miniature.verdict_study import (
    COMPARISONS,
    FIGURES,
    PAGE,
    PROMPTS,
    TRAININGS,
    fill_page,
    interval,
    judge_recipes,
    judge_world,
    render,
)
from stages.contracts.paths import VERSIONS

STUDY: dict[str, Any] = json.loads(FIGURES.read_text())
RECORDED = FIGURES.parents[1] / VERSIONS / "v3" / "per_image.csv"
STEADY = [metric for metric in METRICS if metric != "face_found"]  # nobody loses a face in the first world


def world(name: str, prompts: int) -> dict[str, Any]:
    (found,) = [row for row in STUDY["worlds"] if (row["world"], row["prompts"]) == (name, prompts)]
    return found  # type: ignore[no-any-return]


def test_enough_comparisons_were_simulated() -> None:
    assert STUDY["comparisons"] >= COMPARISONS
    assert {rate[1] for row in STUDY["worlds"] for rate in [row["family"]]} == {STUDY["comparisons"]}


@pytest.mark.parametrize("prompts", PROMPTS)
def test_without_a_difference_at_most_one_comparison_in_twenty_claims_one(prompts: int) -> None:
    names = {row["world"] for row in STUDY["worlds"]} - {"4% against 0.5% of the faces lost"}  # there it is no error
    assert len(names) == 3
    assert all(interval(world(name, prompts)["family"])[0] <= 5 for name in names)


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("metric", METRICS)
def test_what_is_called_detectable_is_found_four_times_in_five(metric: str, prompts: int) -> None:
    assert interval(world(SAME.name, prompts)["metrics"][metric]["found"])[1] >= 80


@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("metric", STEADY)
def test_intervals_hold_the_truth_as_often_as_they_say(metric: str, prompts: int) -> None:
    low, high = interval(world(SAME.name, prompts)["metrics"][metric]["covers"])
    assert low <= 97
    assert high >= 93


def test_faces_lost_by_both_make_no_interval_too_narrow() -> None:
    assert all(
        interval(it["covers"])[1] >= 93 for prompts in PROMPTS for it in world(LOST.name, prompts)["metrics"].values()
    )


def test_replicas_bring_the_error_about_recipes_from_a_half_to_a_twentieth() -> None:
    rates = {tuple(row["trainings"]): row["false"] for row in STUDY["recipes"] if row["spread"] == 2.0}
    assert interval(rates[1, 1])[0] > 40
    assert all(interval(rates[trainings])[0] <= 5.5 for trainings in TRAININGS[1:])


def test_the_page_shows_what_was_simulated() -> None:
    page = PAGE.read_text()
    assert fill_page(page, render(STUDY)) == page
    with pytest.raises(ValueError, match="table 1"):
        fill_page(page.replace("<!-- table 1 -->", ""), render(STUDY))


def test_simulated_scores_resemble_the_recorded_ones() -> None:
    """Mean, spread and the likeness of pictures of one prompt, within what 24 prompts can tell."""
    scores, _ = draw_scores(SAME, 5, 400, 24)
    recorded = pd.read_csv(RECORDED).query("set == 'lora'")
    for metric in ("similarity", "second_similarity", "adherence"):
        real = recorded.pivot_table(index="prompt_index", columns="seed", values=metric).to_numpy()
        drawn = scores[1, METRICS.index(metric)].reshape(400, 24, -1)
        assert real.mean() == pytest.approx(drawn.mean(), abs=0.1)
        assert 0.4 < real.std() / drawn.std() < 2.5
        within = [float(np.var(pictures, axis=-1, ddof=1).mean() / pictures.var()) for pictures in (real, drawn)]
        assert abs(within[0] - within[1]) < 0.6


def test_a_planted_difference_is_seen_by_the_simulation_itself() -> None:
    """Pictures taken for independent: the error rate that the study must be able to show."""
    pictures = np.arange(48)
    careless = judge_world(SAME, 24, 150, clusters=pictures)
    assert careless["metrics"]["adherence"]["alone"][0] > judge_world(SAME, 24, 150)["metrics"]["adherence"]["alone"][0]


def agrees(again: list[int], committed: list[int]) -> bool:
    """Whether two rates can be the same one: Fisher's exact test, one error in ten thousand."""
    table = [[hits, of - hits] for hits, of in (again, committed)]
    return bool(stats.fisher_exact(table).pvalue > 1e-4)


@pytest.mark.slow
def test_simulating_again_gives_the_committed_rates() -> None:
    again, committed = judge_world(SAME, 24, 400, plant=True), world(SAME.name, 24)
    assert agrees(again["family"], committed["family"])
    for metric, rates in again["metrics"].items():
        assert all(agrees(rates[key], committed["metrics"][metric][key]) for key in ("alone", "covers", "found"))
    for row in STUDY["recipes"][:3]:
        found = judge_recipes(row["prompts"], row["spread"], tuple(row["trainings"]), 400)
        assert agrees(found["false"], row["false"])
