"""Work behind the one who asks: in order, bounded, and its errors are heard."""

import threading

import pytest

from stages.runtime.behind import Behind


def test_tasks_are_done_in_order_and_all_of_them_before_the_context_is_left() -> None:
    done: list[int] = []
    with Behind(3) as behind:
        for number in range(20):
            behind.do(done.append, number)
    assert done == list(range(20))


def test_no_more_than_the_set_number_of_tasks_waits() -> None:
    go, asked = threading.Event(), []

    def ask() -> None:
        with Behind(2) as behind:
            for number in range(4):
                behind.do(go.wait, 10)
                asked.append(number)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(0.3)
    assert asked == [0, 1]
    go.set()
    thread.join(10)
    assert asked == [0, 1, 2, 3]


def test_an_error_is_raised_to_the_next_who_asks_and_at_the_end() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), Behind(1) as behind:
        behind.do(fail)
        behind.do(int)
    with pytest.raises(OSError, match="full"), Behind(8) as behind:
        behind.do(fail)


def test_what_was_asked_before_an_error_of_the_asker_is_done_all_the_same() -> None:
    done: list[int] = []
    with pytest.raises(ValueError, match="asker"), Behind(8) as behind:
        for number in range(5):
            behind.do(done.append, number)
        raise ValueError("of the asker")
    assert done == [0, 1, 2, 3, 4]
