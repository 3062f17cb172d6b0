"""Items are made ahead, in order, and by nobody when nobody wants them."""

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from stages.runtime.ahead import ahead


def test_items_come_in_order_made_in_one_other_thread() -> None:
    threads = set()

    def make() -> Iterator[int]:
        for number in range(50):
            threads.add(threading.current_thread())
            yield number

    assert list(ahead(make(), 3)) == list(range(50))
    assert len(threads) == 1
    assert threads != {threading.current_thread()}


def test_making_and_taking_overlap_and_no_more_than_so_many_wait() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    items = ahead(make(), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert made == [0, 1, 2, 3]  # the one taken, two that wait, and one that is made and has no room
    assert list(items) == list(range(1, 20))


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    items = ahead(make(), 5)
    assert list(islice(items, 2)) == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(items)


def test_who_stops_asking_ends_the_making_and_closes_it() -> None:
    ended = threading.Event()

    def make() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            ended.set()

    items = ahead(make(), 1)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert ended.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_an_error_while_closing_is_not_lost() -> None:
    def make() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        list(ahead(make(), 1))
