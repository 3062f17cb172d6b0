"""A line of items: bounded, in order, whatever is lost and however late."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.backends.crew.line import MOST_LOSSES, Line
from stages.runtime.errors import UserError


@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 4), st.randoms(use_true_random=False))
def test_results_come_in_order_each_once_with_a_bounded_window(
    count: int, ahead: int, workers: int, chance: random.Random
) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(count):
            read.append(number)
            yield number * number

    line, at_work, given_out, lost = Line("drawing", items()), {}, [], Counter[int]()
    while not line.finished:
        while len(at_work) < workers and (taken := line.take(ahead)):
            at_work[taken[0]] = taken[1]
            assert len(read) - len(given_out) <= ahead
        if at_work:
            number = chance.choice(sorted(at_work))
            item = at_work.pop(number)
            if chance.random() < 0.3 and lost[number] < MOST_LOSSES - 1:
                lost[number] += 1
                line.lose(number, blamed=True)
            else:
                line.finish(number, -item)
        while line.has_due():
            given_out.append(line.give())
    assert given_out == [-n * n for n in range(count)]
    assert read == list(range(count))


def test_what_is_lost_is_next() -> None:
    line = Line("drawing", iter("abcde"))
    assert [line.take(4) for _ in range(3)] == [(0, "a"), (1, "b"), (2, "c")]
    line.lose(2, blamed=False)
    line.lose(1, blamed=True)
    assert [line.take(4) for _ in range(4)] == [(1, "b"), (2, "c"), (3, "d"), None]


def test_an_item_that_ends_its_third_worker_stops_the_run_and_one_that_waited_there_does_not() -> None:
    line = Line("drawing", iter("ab"))
    line.take(2)
    line.take(2)
    for _ in range(5):
        line.lose(1, blamed=False)
        line.take(2)
    for _ in range(MOST_LOSSES - 1):
        line.lose(0, blamed=True)
        line.take(2)
    with pytest.raises(UserError, match="drawing: one piece of work has ended 3 workers"):
        line.lose(0, blamed=True)
