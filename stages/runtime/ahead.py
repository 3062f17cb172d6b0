"""Items made in a thread of their own, a few ahead of whoever takes them."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
POLL_S = 0.02


def ahead(items: Iterable[T], waiting: int) -> Iterator[T]:
    """Yield ``items`` in order, made in one thread of their own while the caller works on those before.

    Args:
        items: an iterator is closed in that thread, when it ends or when nobody asks any more.
        waiting: items at most that are made and not taken yet.

    Raises:
        Exception: what the making raised, in its place.
    """
    made: Queue[tuple[bool, Any]] = Queue(waiting)
    unwanted = Event()
    thread = Thread(target=_make, args=(items, made, unwanted), name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            good, item = made.get()
            if not good:
                if item is None:
                    return
                raise item
            yield item
    finally:
        unwanted.set()
        while thread.is_alive():
            with suppress(Empty):
                made.get_nowait()  # it may wait for room
            thread.join(POLL_S)


def _make(items: Iterable[Any], made: "Queue[tuple[bool, Any]]", unwanted: Event) -> None:
    """Put (True, item) for each; at the end (False, None), or (False, what was raised)."""
    source = iter(items)
    end: BaseException | None = None
    try:
        for item in source:
            made.put((True, item))
            if unwanted.is_set():
                break
    except BaseException as error:
        end = error
    try:
        if hasattr(source, "close"):
            source.close()
    except BaseException as error:
        end = end or error
    made.put((False, end))
