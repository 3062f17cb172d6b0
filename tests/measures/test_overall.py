"""The overall score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contracts.settings import Grades, Weights
from stages.measures.overall import overall_score
from stages.runtime.errors import UserError

WEIGHTS = Weights(likeness=0.7, skin=0.3)


def test_golden_scores() -> None:
    assert overall_score(100, 1.0, WEIGHTS) == pytest.approx(1.0)
    assert overall_score(50, 0.5, WEIGHTS) == pytest.approx(0.5)
    assert overall_score(80, 0.4, WEIGHTS) == pytest.approx(0.68)


def test_copying_earns_no_more_than_being_alike() -> None:
    assert overall_score(140, 0.5, WEIGHTS) == overall_score(100, 0.5, WEIGHTS)


def test_less_alike_than_the_base_model_is_worth_nothing_rather_than_less() -> None:
    assert overall_score(-30, 0.5, WEIGHTS) == pytest.approx(0.15)


@given(st.floats(-100, 200), st.floats(0, 1), st.floats(0.01, 5), st.floats(0, 5))
def test_the_score_lies_between_0_and_1_and_only_the_ratio_of_weights_counts(
    likeness: float, realism: float, first: float, second: float
) -> None:
    found = overall_score(likeness, realism, Weights(likeness=first, skin=second))
    assert -1e-12 <= found <= 1 + 1e-12
    assert found == pytest.approx(overall_score(likeness, realism, Weights(likeness=3 * first, skin=3 * second)))


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="all are 0"):
        overall_score(50, 0.5, Weights(likeness=0, skin=0))


@pytest.mark.parametrize(("score", "grade"), [(0.85, "A"), (0.8499, "B"), (0.55, "C"), (0.40, "D"), (0.39, "F")])
def test_grades_begin_at_their_thresholds(score: float, grade: str) -> None:
    assert Grades().of(score) == grade
