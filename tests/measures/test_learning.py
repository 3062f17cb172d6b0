"""A rate that does not leave its start and one that never stops are told, a healthy one is not."""

import pytest

from stages.measures.learning import judge_rate


@pytest.mark.parametrize(
    ("step", "rate", "d", "says"),
    [
        (300, 1e-6, 1e-6, "not learning"),
        (300, 3e-6, 3e-6, "not learning"),
        (300, 4e-4, 4e-4, None),
        (10, 1e-6, 1e-6, None),  # too early to say
        (300, 0.05, 0.05, "running away"),
        (300, 1e-4, None, None),
        (300, 0.05, None, "learning_rate"),
        (2000, 1e-9, 4e-4, None),  # the cosine's end is no failure
    ],
)
def test_what_is_said_of_a_rate(step: int, rate: float, d: float | None, says: str | None) -> None:
    warning = judge_rate(step, 2500, rate, d)
    assert (warning is None) if says is None else (warning is not None and says in warning)


@pytest.mark.parametrize(
    ("step", "steps", "rate", "d", "warned"),
    [
        (249, 2500, 1e-6, 1e-6, False), (250, 2500, 1e-6, 1e-6, True), (19, 100, 1e-6, 1e-6, False),
        (20, 100, 1e-6, 1e-6, True), (300, 2500, 1e-6, 4.9e-6, True), (300, 2500, 1e-6, 5e-6, False),
        (1, 2500, 0.02, 0.02, False), (1, 2500, 0.021, 0.021, True), (1, 2500, 0.021, None, True),
    ],
)  # fmt: skip
def test_a_warning_begins_at_its_bound(step: int, steps: int, rate: float, d: float | None, warned: bool) -> None:
    assert (judge_rate(step, steps, rate, d) is not None) == warned


def test_what_to_lower_is_the_optimizer_s_own() -> None:
    assert "lower train.optimizer.d_coef" in str(judge_rate(300, 2500, 0.05, 0.05))
    assert "0.05 at step 300; lower train.optimizer.learning_rate" in str(judge_rate(300, 2500, 0.05, None))
    assert "d is 1e-06 after 300 steps" in str(judge_rate(300, 2500, 1e-6, 1e-6))
