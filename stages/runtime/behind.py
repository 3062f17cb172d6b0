"""Work that nobody waits for: done in order by one thread behind the one that asks for it."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self


class Behind:
    """At most ``waiting`` tasks wait; an error of one is raised to whoever asks next.

    Leaving the context waits for all tasks, whatever happened inside.
    """

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="behind")
        self.asked: deque[Future[Any]] = deque()

    def do(self, work: Callable[..., Any], *values: Any) -> None:
        """Have ``work`` done; waits while too much is waiting.

        Raises:
            Exception: what an earlier task raised.
        """
        while self.asked and (self.asked[0].done() or len(self.asked) >= self.waiting):
            self.asked.popleft().result()
        self.asked.append(self.thread.submit(work, *values))

    def wait(self) -> None:
        """Until everything is done.

        Raises:
            Exception: what a task raised.
        """
        while self.asked:
            self.asked.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self.thread.shutdown(wait=True)  # what was made before an error is kept all the same
