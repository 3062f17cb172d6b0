"""Agreement of the judges, who decides, and the flags."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workspaces import PARAMS

from stages.contracts.findings import Interval, Memorisation, gating_judge
from stages.contracts.measure_settings import FlagLimits
from stages.contracts.settings import Eval
from stages.flows.findings import interval_of, measure_agreement, raise_flags

SETTINGS = Eval(**PARAMS["eval"])
LIMITS = FlagLimits()


def table(gap: float, seed: int = 0, faceless: int = 0) -> pd.DataFrame:
    """48 pictures whose likeness by the face pack is ``gap`` above the second judge's."""
    rng = np.random.default_rng(seed)
    similarity = rng.normal(0.6, 0.1, 48)
    rows = pd.DataFrame({
        "prompt_index": np.arange(48) // 2, "seed": np.arange(48) % 2, "face_found": 1, "similarity": similarity,
        "second_similarity": similarity + rng.normal(0, 0.05, 48), "likeness": 100 * similarity + gap,
        "second_likeness": 100 * similarity + rng.normal(0, 2, 48), "closeness": np.arange(48.0),
        "memorised": 0, "file": [f"lora/{n}.png" for n in range(48)], "nearest_photo": "a.jpg",
    })  # fmt: skip
    rows.loc[: faceless - 1, ["face_found", "similarity", "second_similarity"]] = 0
    return rows


@pytest.mark.parametrize(
    ("mode", "judge"), [("lora", "faces"), ("lora+instantid", "second"), ("lora+ipadapter", "second")]
)
def test_the_judge_that_the_generator_was_given_never_decides(mode: str, judge: str) -> None:
    assert gating_judge(mode) == judge


@pytest.mark.parametrize(
    ("mode", "gap", "disagree", "alarm"),
    [("lora", 30, True, False), ("lora+instantid", 30, True, True), ("lora+instantid", 3, False, False),
     ("lora+ipadapter", -30, True, True)],
)  # fmt: skip
def test_an_alarm_takes_both_a_conditioned_generator_and_judges_that_disagree(
    mode: str, gap: float, disagree: bool, alarm: bool
) -> None:
    found = measure_agreement(table(gap), mode, 15.0, SETTINGS)
    assert (found.disagree, found.alarm) == (disagree, alarm)
    assert found.conditioned == ("faces" if "+" in mode else None)
    assert found.difference == pytest.approx(gap, abs=1.5)
    assert found.difference_interval.low <= found.difference <= found.difference_interval.high
    assert found.correlation is not None
    assert found.correlation > 0.6


def test_two_zeros_for_a_face_that_is_not_found_are_no_agreement() -> None:
    rng = np.random.default_rng(3)
    rows = table(0, faceless=20).assign(second_similarity=rng.normal(0.6, 0.1, 48))
    found = measure_agreement(rows, "lora", 15.0, SETTINGS)
    assert found.images == 28
    assert found.correlation is not None
    assert abs(found.correlation) < 0.5


def test_judges_of_one_opinion_have_no_correlation() -> None:
    found = measure_agreement(table(0).assign(similarity=0.5), "lora", 15.0, SETTINGS)
    assert found.correlation is None
    assert found.correlation_interval is None


def flags(
    likeness: tuple[float, float, float] = (80, 75, 85), prior: tuple[float, float, float] = (90, 85, 95),
    share: tuple[float, float, float] = (0.1, 0.0, 0.2),
) -> dict[str, bool]:  # fmt: skip
    figures = [(value, Interval(low=low, high=high)) for value, low, high in (likeness, prior, share)]
    found = Memorisation(share=share[0], share_interval=figures[2][1], base_share=0.0, limit=5.0, photos=36)
    return {flag.name: flag.raised for flag in raise_flags(figures[0], figures[1], found, table(0), LIMITS)}


def test_a_healthy_version_has_four_flags_and_none_is_up() -> None:
    assert flags() == {"copying": False, "wrong_identity": False, "leaking": False, "memorising": False}


@pytest.mark.parametrize(
    ("figures", "name"),
    [
        ({"likeness": (115, 101, 125)}, "copying"), ({"likeness": (10, 0, 24)}, "wrong_identity"),
        ({"prior": (30, 20, 49)}, "leaking"), ({"share": (0.5, 0.3, 0.7)}, "memorising"),
    ],
)  # fmt: skip
def test_a_flag_is_up_where_the_whole_interval_lies_beyond_its_limit(figures, name: str) -> None:
    assert [flag for flag, raised in flags(**figures).items() if raised] == [name]


@pytest.mark.parametrize(
    "figures",
    [{"likeness": (115, 99, 131)}, {"likeness": (104, 100, 108)}, {"likeness": (20, 10, 30)}, {"prior": (45, 35, 55)},
     {"share": (0.4, 0.2, 0.6)}],
)  # fmt: skip
def test_chance_raises_no_flag(figures) -> None:
    assert not any(flags(**figures).values())


def test_the_memorising_flag_names_the_closest_picture_and_its_photo() -> None:
    found = Memorisation(share=0.0, share_interval=Interval(low=0, high=0), base_share=0.0, limit=5.0, photos=36)
    likeness = (80.0, Interval(low=75, high=85))
    says = raise_flags(likeness, likeness, found, table(0), LIMITS)[3].says
    assert says.endswith("the closest is lora/47.png, like a.jpg")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=12), st.integers(0, 3))
def test_rows_that_lack_a_value_are_left_out_of_an_interval(values: list[float], missing: int) -> None:
    rows = pd.DataFrame({"prompt_index": range(len(values)), "x": values})
    known = rows.copy()
    known.loc[: missing - 1, "x"] = np.nan
    found = interval_of(known, "x", SETTINGS)
    assert found == interval_of(rows.iloc[missing:], "x", SETTINGS)
    assert found.low <= np.mean(values[missing:]) + 1e-9
