"""Token buckets."""

import pytest

from publish.serve.limits import Buckets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_let_through_and_then_the_rate(clock: Clock) -> None:
    buckets = Buckets(60, 3, clock)
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    clock.now = 1.0
    assert [buckets.take("a") for _ in range(2)] == [0, 1]


def test_each_key_has_its_own(clock: Clock) -> None:
    buckets = Buckets(60, 1, clock)
    assert [buckets.take(key) for key in "aab"] == [0, 1, 0]


def test_after_the_told_time_it_is_let_through(clock: Clock) -> None:
    buckets = Buckets(7, 10, clock)
    buckets.take("a", 10)
    clock.now = buckets.take("a", 5)
    assert clock.now == 43  # 5 tokens at 7 a minute
    assert buckets.take("a", 5) == 0


def test_in_the_long_run_nobody_gets_more_than_the_rate(clock: Clock) -> None:
    buckets = Buckets(120, 5, clock)
    let_through = 0
    for tenth in range(600):  # a minute
        clock.now = tenth / 10
        let_through += buckets.take("a") == 0
    assert 120 <= let_through <= 125


def test_what_was_given_back_can_be_taken_and_no_bucket_runs_over(clock: Clock) -> None:
    buckets = Buckets(60, 2, clock)
    buckets.take("a", 2)
    buckets.give_back("a", 2)
    buckets.give_back("a", 2)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]
