"""The comparison as Markdown: every number in its own place and unit."""

from typing import Any

import pytest

from stages.contracts.comparison import (
    Comparison,
    ConfigDifference,
    MetricComparison,
    RecipeComparison,
    Recommendation,
    Version,
)
from stages.contracts.scorecard import Cell, Interval
from stages.reports.comparison import render_comparison, show_interval, show_value


def cell(**changes: Any) -> Cell:
    values = {"base": "models/base", "mode": "lora", "checkpoint": 300, "lora": "a.safetensors", "guidance": 2.5,
              "sampler": "ddim", "strength": 0.8, "images": 8, "similarity_mean": 0.51, "pass_rate": 0.25,
              "detection_rate": 0.875}  # fmt: skip
    return Cell(**(values | changes))


def version(name: str, **changes: Any) -> Version:
    values = {"run_id": "0" * 12, "lora_sha256": "1" * 64, "overall_score": 0.577, "overall_grade": "C",
              "best_config": cell()}  # fmt: skip
    return Version(name=name, **(values | changes))


def metric(name: str, **changes: Any) -> MetricComparison:
    values = {"metric": name, "baseline": 0.6081, "candidate": 0.6494, "delta": 0.0413, "verdict": "INCONCLUSIVE",
              "interval": Interval(low=-0.0034, high=0.0801), "p_value": 0.012, "p_adjusted": 0.1234,
              "detectable": 0.0567, "margin": 0.03, "method": "studentized"}  # fmt: skip
    return MetricComparison(**(values | changes))


LIKENESS = metric(
    "likeness", baseline=69.04, candidate=104.26, delta=35.22, interval=Interval(low=20.11, high=50.33),
    verdict="IMPROVED", p_adjusted=0.0004, detectable=12.34, margin=5.0, guarded=True, more_images=None,
)  # fmt: skip
FOUND = metric(
    "face_found", baseline=0.975, candidate=0.9792, delta=0.0042, interval=Interval(low=-0.031, high=0.0394),
    p_adjusted=1.0, detectable=0.083, margin=0.025, more_images=26, method="pseudo-prompts",
)  # fmt: skip
RECIPE = RecipeComparison(
    delta=-0.0222, interval=Interval(low=-0.0555, high=0.0111), verdict="REGRESSED", p_value=0.01, p_adjusted=0.0321,
    spread=0.0444, detectable=0.0666,
)  # fmt: skip


def compare(*metrics: MetricComparison, **changes: Any) -> Comparison:
    values: dict[str, Any] = {
        "comparable": True, "baseline": version("v2"), "protocol": "2" * 64, "confidence": 0.9, "prompts": 12,
        "candidate": version("v3", overall_score=0.6094, overall_grade="B", best_config=cell(checkpoint=900)),
        "images": 36, "metrics": list(metrics), "config_differences": [],
        "recommendation": Recommendation(action="undecided", reason="Because."),
    }  # fmt: skip
    return Comparison(**(values | changes))


def lines(comparison: Comparison) -> list[str]:
    return render_comparison(comparison).splitlines()


def section(comparison: Comparison, title: str) -> list[str]:
    text = render_comparison(comparison).split(f"## {title}\n")[1].split("\n## ")[0]
    return [line for line in text.splitlines() if line]


def test_every_metric_has_its_figures_in_their_own_columns_and_units() -> None:
    assert section(compare(metric("similarity"), LIKENESS, FOUND), "Metrics")[:5] == [
        "| metric | v2 | v3 | difference | 90% interval | p (Holm) | detectable | verdict |",
        "|---|---|---|---|---|---|---|---|",
        "| similarity | 0.608 | 0.649 | +0.041 | -0.003 .. +0.080 | 0.123 | 0.057 | **INCONCLUSIVE** |",
        "| likeness (guarded) | 69.0 | 104.3 | +35.2 | +20.1 .. +50.3 | 0.000 | 12.3 | **IMPROVED** |",
        "| face_found | 97.5% | 97.9% | +0.4% | -3.1% .. +3.9% | 1.000 | 8.3% | **INCONCLUSIVE** |",
    ]


def test_the_overall_scores_stand_beside_their_own_versions() -> None:
    assert lines(compare(metric("similarity")))[:5] == [
        "# v3 against v2: UNDECIDED", "", "Because.", "",
        "Overall: v2 0.577 (C), v3 0.609 (B); plain values, not tested.",
    ]  # fmt: skip


@pytest.mark.parametrize(("action", "said"), [("adopt", "ADOPT"), ("keep", "KEEP the baseline")])
def test_the_advice_is_the_title(action: str, said: str) -> None:
    advice = Recommendation.model_validate({"action": action, "reason": "x"})
    assert lines(compare(recommendation=advice))[0] == f"# v3 against v2: {said}"


def test_the_notes_say_how_many_pictures_what_margins_and_what_would_settle_it() -> None:
    notes = section(compare(metric("similarity", more_images=140), LIKENESS, FOUND), "Metrics")[5:]
    assert notes[0].startswith("36 pairs of pictures (same prompt, seed and starting noise) over 12 prompts;")
    assert notes[1:] == [
        "EQUIVALENT: the whole interval lies within the margin (similarity 0.030, likeness 5.0, face_found 2.5%).",
        "More pictures that would settle what is INCONCLUSIVE, on new prompts: similarity about 140, "
        "face_found about 26.",
        "Yes or no, or rare: face_found got one more prompt in favour of either version.",
        "likeness above 100: closer to the references than real photos are; look for copying.",
    ]


def test_where_no_pair_differs_the_rule_of_three_is_said_and_nothing_of_pseudo_prompts() -> None:
    still = metric("face_found", delta=0.0, detectable=None, method="pseudo-prompts", margin=0.0)
    notes = section(compare(still, metric("similarity", margin=0.0, candidate=150.0)), "Metrics")[4:]
    assert notes[1:] == [
        "No pair differs in face_found: a difference in fewer than about 8% of all pictures would not have shown "
        "(rule of three)."
    ]
    moved = metric("face_found", delta=0.0, detectable=0.1, margin=0.0)
    assert "rule of three" not in render_comparison(compare(moved))


def test_recipes_are_judged_by_their_own_figures_and_by_how_often_they_were_trained() -> None:
    twice = compare(
        metric("similarity", recipe=RECIPE), LIKENESS, baseline=version("v2", trainings=4),
        candidate=version("v3", trainings=2),
    )  # fmt: skip
    assert section(twice, "Recipes") == [
        "Trainings: v2 4, v3 2. Prompts and training seeds are both samples here.",
        "| metric | difference | 90% interval | spread between trainings | p (Holm) | detectable | verdict |",
        "|---|---|---|---|---|---|---|",
        "| similarity | -0.022 | -0.056 .. +0.011 | 0.044 | 0.032 | 0.067 | **REGRESSED** |",
    ]
    assert "`pistachio replicate NAME`" in section(compare(LIKENESS), "Recipes")[0]


def test_best_settings_and_what_differs_keep_their_sides() -> None:
    differing = [
        ConfigDifference(key="train.rank", baseline=16, candidate=32),
        ConfigDifference(key="train.rate", baseline=None, candidate=0.00012345678),
        ConfigDifference(key="a|b", baseline="x" * 61, candidate="two\nlines"),
    ]
    comparison = compare(metric("similarity"), config_differences=differing)
    assert "| checkpoint | 300 | 900 |" in section(comparison, "Best settings")
    assert section(comparison, "What differs in configuration") == [
        "| key | v2 | v3 |", "|---|---|---|", "| train.rank | 16 | 32 |", "| train.rate | - | 0.000123457 |",
        f"| a\\|b | {'x' * 57}... | two lines |",
    ]  # fmt: skip
    assert section(compare(metric("similarity")), "What differs in configuration") == ["Nothing."]


def test_without_a_baseline_the_candidate_s_own_values_are_listed() -> None:
    alone = lines(compare(metric("similarity"), LIKENESS, FOUND, baseline=None, comparable=False))
    assert alone[0] == "# v3: no baseline"
    assert "Overall: 0.609 (B); 36 pictures of 12 prompts." in alone
    assert alone[-5:] == [
        "| metric | v3 |", "|---|---|", "| similarity | 0.649 |", "| likeness | 104.3 |", "| face_found | 97.9% |"
    ]  # fmt: skip


def test_what_is_not_known_is_a_dash() -> None:
    unknown = metric("similarity", delta=None, interval=None, p_adjusted=None, detectable=None, verdict=None)
    assert "| similarity | 0.608 | 0.649 | - | - | - | - | **None** |" in lines(compare(unknown))
    assert show_value(unknown, None) == show_interval(unknown) == "-"
    assert show_interval(unknown, Interval(low=-1, high=0.5)) == "-1.000 .. +0.500"
