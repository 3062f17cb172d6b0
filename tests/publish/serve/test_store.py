"""Jobs in SQLite: none lost, none doubled, whoever is killed when."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from publish.serve.job import Asked, Draw, Job, State
from publish.serve.store import FILE, KeyReused, QueueFull, Store, build_store
from stages.runtime.errors import UserError

ASKED = Asked("a woman", None, 7, 2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    build_store(tmp_path)
    made = Store(tmp_path)
    yield made
    made.close()


def submit(store: Store, owner: str = "me", key: str | None = None, body: str = "b", most: int = 9) -> Job:
    return store.submit(owner, ASKED, body, key, most, most)[0]


def delivered(number: int, picture: int) -> Draw:
    return Draw(number, 7 + number, picture, "ab" * 32, ())


def test_a_job_comes_back_as_it_was_asked(store: Store) -> None:
    job = submit(store)
    assert store.find(job.id, "me") == job
    assert (job.asked, job.state, job.draws) == (ASKED, State.QUEUED, ())


def test_nobody_finds_the_job_of_somebody_else(store: Store) -> None:
    job = submit(store)
    assert store.find(job.id, "you") is None
    assert store.cancel(job.id, "you") is None
    assert store.page("you", None, 9) == []
    assert store.find(job.id, "me") == job


def test_the_same_key_and_body_are_one_job_and_another_body_is_refused(store: Store) -> None:
    first, new = store.submit("me", ASKED, "body", "k", 9, 9)
    again, newer = store.submit("me", ASKED, "body", "k", 9, 9)
    assert (first.id, new, newer) == (again.id, True, False)
    with pytest.raises(KeyReused):
        store.submit("me", ASKED, "other body", "k", 9, 9)
    assert store.submit("you", ASKED, "other body", "k", 9, 9)[1]


def test_one_key_that_is_sent_by_many_at_once_is_one_job(store: Store, tmp_path: Path) -> None:
    made: list[str] = []

    def send() -> None:
        own = Store(tmp_path)
        made.append(submit(own, key="k").id)
        own.close()

    senders = [threading.Thread(target=send) for _ in range(16)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(made) == 16
    assert len(set(made)) == 1


def test_the_queue_is_bounded_for_all_and_for_each(store: Store) -> None:
    for owner in ("a", "a", "b"):
        store.submit(owner, ASKED, "b", None, 4, 2)
    with pytest.raises(QueueFull):
        store.submit("a", ASKED, "b", None, 4, 2)
    store.submit("b", ASKED, "b", None, 4, 2)
    with pytest.raises(QueueFull):
        store.submit("c", ASKED, "b", None, 4, 2)


def test_a_known_key_is_answered_when_the_queue_is_full(store: Store) -> None:
    job = submit(store, key="k", most=1)
    assert submit(store, key="k", most=1).id == job.id


def test_pages_hold_every_job_once_the_newest_first(store: Store) -> None:
    jobs = [submit(store).id for _ in range(5)]
    first = store.page("me", None, 3)
    second = store.page("me", first[-1].number, 3)
    assert [job.id for job in first + second] == jobs[::-1]


def test_keys_take_turns(store: Store) -> None:
    many = [submit(store, "many").id for _ in range(3)]
    one = submit(store, "one").id
    order = []
    while job := store.take(3):
        order.append(job.id)
        store.finish(job, State.DONE)
    assert order == [many[0], one, *many[1:]]


def test_what_a_killed_worker_left_is_taken_first_and_fails_after_its_attempts(store: Store) -> None:
    job, other = submit(store), submit(store)
    taken = [store.take(3) for _ in range(3)]
    assert [one.id for one in taken if one] == [job.id] * 3
    following = store.take(3)
    failed = store.find(job.id, "me")
    assert following is not None
    assert failed is not None
    assert following.id == other.id
    assert (failed.state, failed.failure) == (State.FAILED, "worker-died")


def test_a_picture_that_was_kept_gives_the_next_one_all_its_attempts(store: Store) -> None:
    submit(store)
    for number in range(6):
        job = store.take(2)
        assert job is not None, number
        store.add_draw(job, delivered(number, number))


def test_a_draw_is_kept_once(store: Store) -> None:
    submit(store)
    job = store.take(3)
    assert job is not None
    store.add_draw(job, delivered(0, 0))
    for draw in (delivered(0, 1), delivered(1, 0)):
        with pytest.raises(sqlite3.IntegrityError):
            store.add_draw(job, draw)
    assert store.count_draws() == (1, 0)


def test_a_cancelled_job_stays_cancelled_whatever_the_worker_says(store: Store) -> None:
    job = submit(store)
    store.take(3)
    assert store.is_running(job)
    store.cancel(job.id, "me")
    assert not store.is_running(job)
    store.add_draw(job, delivered(0, 0))
    store.finish(job, State.DONE)
    found = store.find(job.id, "me")
    assert found is not None
    assert (found.state, len(found.pictures)) == (State.CANCELLED, 1)
    assert store.take(3) is None


def test_seeds_go_round_at_the_largest_number_that_json_keeps(store: Store) -> None:
    job = store.submit("me", Asked("p", None, 2**53 - 1, 1), "b", None, 9, 9)[0]
    assert [job.seed_of(number) for number in range(3)] == [2**53 - 1, 0, 1]


def test_the_store_is_nobody_else_s_to_read(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 50, None])
def test_what_is_no_store_of_this_version_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        build_store(tmp_path)
        with sqlite3.connect(tmp_path / FILE) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match="store"):
        build_store(tmp_path)
