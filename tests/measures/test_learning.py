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
