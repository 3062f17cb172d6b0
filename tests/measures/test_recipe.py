"""Recipes: prompts and training seeds are both samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.measures.recipe import measure_recipe


def draw(seed: int, trainings: int, spread: float, prompts: int = 24) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.6 + rng.normal(0, spread, (trainings, 1)) + rng.normal(0, 0.05, (trainings, prompts))


def reach(*sides: np.ndarray) -> float:
    low, high = measure_recipe(*sides, confidence=0.95, family=11).interval
    return high - low


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), trainings=st.integers(1, 5))
def test_exchanging_the_recipes_turns_the_sign_and_no_more(seed: int, trainings: int) -> None:
    a, b = draw(seed, 3, 0.02), draw(seed + 1, trainings, 0.02)
    there, back = (measure_recipe(*sides, confidence=0.95, family=11) for sides in ((a, b), (b, a)))
    assert there.delta == pytest.approx(-back.delta)
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.p_value == pytest.approx(back.p_value)


def test_unsteady_trainings_widen_the_interval_and_more_of_them_narrow_it() -> None:
    steady, unsteady = draw(1, 3, 0.0), draw(1, 3, 0.1)
    assert reach(unsteady, unsteady) > 2 * reach(steady, steady)
    assert reach(draw(2, 12, 0.1), draw(3, 12, 0.1)) < reach(draw(2, 3, 0.1), draw(3, 3, 0.1))


def test_replicas_of_one_recipe_speak_for_the_other() -> None:
    found = measure_recipe(draw(4, 4, 0.05), draw(5, 1, 0.05), confidence=0.95, family=11)
    assert found.spread == pytest.approx(draw(4, 4, 0.05).mean(axis=1).std(ddof=1))
    assert found.detectable is not None
    assert found.detectable > (found.interval[1] - found.interval[0]) / 2


def test_the_same_scores_everywhere_have_no_interval_to_speak_of() -> None:
    same = np.full((2, 5), 0.5)
    found = measure_recipe(same, same, confidence=0.95, family=1)
    assert (found.interval, found.p_value, found.detectable) == ((0.0, 0.0), 1.0, None)


@pytest.mark.parametrize("sides", [((1, 5), (1, 5)), ((2, 5), (2, 6)), ((3, 1), (3, 1))])
def test_what_cannot_be_judged_is_refused(sides: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="two trainings"):
        measure_recipe(*(np.zeros(shape) for shape in sides), confidence=0.95, family=1)


def by_hand(*sides: np.ndarray, unit: float | None = None) -> tuple[float, float, float]:
    """Difference, standard error and degrees of freedom, term by term."""
    (a, b), prompts = sides, sides[0].shape[1]
    difference = [float(b[:, k].mean() - a[:, k].mean()) for k in range(prompts)]
    seen = difference + ([] if unit is None else [unit, -unit])
    of_prompts = np.var(seen, ddof=1) / len(seen)
    freedom = len(a) - 1 + len(b) - 1
    squares = sum(((side.mean(axis=1) - side.mean()) ** 2).sum() for side in sides)
    of_trainings = squares / freedom * (1 / len(a) + 1 / len(b))
    degrees = (of_prompts + of_trainings) ** 2 / (of_prompts**2 / (len(seen) - 1) + of_trainings**2 / freedom)
    return float(np.mean(difference)), float(np.sqrt(of_prompts + of_trainings)), float(degrees)


@pytest.mark.parametrize(("trainings", "unit"), [((3, 2), None), ((1, 4), None), ((2, 5), 0.5)])
def test_the_interval_is_the_formula_s_for_any_number_of_trainings(
    trainings: tuple[int, int], unit: float | None
) -> None:
    sides = draw(11, trainings[0], 0.05, prompts=7), draw(12, trainings[1], 0.02, prompts=7) + 0.04
    delta, error, degrees = by_hand(*sides, unit=unit)
    found = measure_recipe(*sides, confidence=0.9, family=11, unit=unit)
    assert (found.delta, found.standard_error) == (pytest.approx(delta), pytest.approx(error))
    assert found.degrees == pytest.approx(degrees)
    assert (found.baseline, found.candidate) == (pytest.approx(sides[0].mean()), pytest.approx(sides[1].mean()))
    reached = stats.t.ppf(0.95, degrees) * error
    assert found.interval == pytest.approx((delta - reached, delta + reached))
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(delta) / error, degrees))
    assert found.detectable == pytest.approx((stats.t.ppf(1 - 0.1 / 22, degrees) + stats.t.ppf(0.8, degrees)) * error)
