"""A line of items that several workers take from: few at a time, lost ones again, results in the order of the items."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from stages.runtime.errors import UserError

MOST_LOSSES = 3


class Line:
    """Items by number; of those that are taken, waiting or done there are never more than ``ahead`` at once.

    They are read when somebody takes them.  Taken in order, so that items of one model that follow each other load it
    once on each worker.
    """

    def __init__(self, what: str, items: Iterable[Any]) -> None:
        self.what, self.items = what, iter(items)
        self.held: dict[int, Any] = {}  # read, not done
        self.lost: list[int] = []  # of these, nobody's
        self.done: dict[int, Any] = {}
        self.due, self.read, self.exhausted = 0, 0, False
        self.losses: Counter[int] = Counter()

    @property
    def finished(self) -> bool:
        """Whether every result has been given out."""
        return self.exhausted and not self.held and not self.done

    def take(self, ahead: int) -> tuple[int, Any] | None:
        """The next item with its number; None: nothing may be taken now."""
        if self.lost:
            number = self.lost.pop(0)
            return number, self.held[number]
        if self.exhausted or self.read - self.due >= ahead:
            return None
        try:
            item = next(self.items)
        except StopIteration:
            self.exhausted = True
            return None
        self.read += 1
        self.held[self.read - 1] = item
        return self.read - 1, item

    def finish(self, number: int, result: Any) -> None:
        """An item is done."""
        del self.held[number]
        self.done[number] = result

    def lose(self, number: int, blamed: bool) -> None:
        """An item's worker is gone: it is first in the line again.

        Raises:
            UserError: when it was the one at work (``blamed``), and not for the first time.
        """
        self.losses[number] += blamed
        if self.losses[number] >= MOST_LOSSES:
            what = f"{self.what}: one piece of work has ended {MOST_LOSSES} workers"
            raise UserError("machine.ray_address", what, "look whether they have memory enough, or run without Ray")
        self.lost = sorted([*self.lost, number])

    def has_due(self) -> bool:
        """Whether the result that is due is there."""
        return self.due in self.done

    def give(self) -> Any:
        """The result that is due."""
        result = self.done.pop(self.due)
        self.due += 1
        return result
