"""What waits, what runs and what is done: a queue by number with room for one run at a time, and the history."""

import asyncio
import copy
import heapq
from collections.abc import Callable
from typing import Any

Send = Callable[[str, dict[str, Any], str | None], None]  # event, data, client or None for all
Item = tuple[Any, ...]  # number, prompt_id, graph, extra_data, outputs
KEPT = 10_000  # runs in the history


class Queue:
    """What waits, what runs and what is done.  All of it is lost with the server."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._heap: list[tuple[Any, str, int, Item]] = []
        self._count = 0
        self.running: Item | None = None
        self.history: dict[str, Any] = {}
        self.filled = asyncio.Event()

    def info(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": len(self._heap) + (self.running is not None)}}

    def put(self, item: Item) -> None:
        self._count += 1
        heapq.heappush(self._heap, (item[0], item[1], self._count, item))
        self._tell()
        self.filled.set()

    async def get(self) -> Item:
        while not self._heap:
            self.filled.clear()
            await self.filled.wait()
        self.running = copy.deepcopy(heapq.heappop(self._heap)[-1])
        self._tell()
        return self.running

    def done(self, result: dict[str, Any], status: dict[str, Any]) -> None:
        assert self.running is not None
        if len(self.history) > KEPT:
            self.history.pop(next(iter(self.history)))
        item, self.running = self.running, None
        self.history[item[1]] = {"prompt": item, "outputs": {}, "status": status} | result
        self._tell()

    def current(self) -> tuple[list[Item], list[Item]]:
        """(running, pending)."""
        return [self.running] if self.running else [], [entry[-1] for entry in self._heap]

    def clear(self) -> None:
        self._heap.clear()
        self._tell()

    def delete(self, prompt_id: str) -> bool:
        """Remove one pending run; False: it does not wait (it may run)."""
        for index, entry in enumerate(self._heap):
            if entry[1] == prompt_id:
                self._heap.pop(index)
                heapq.heapify(self._heap)
                self._tell()
                return True
        return False

    def _tell(self) -> None:
        self._send("status", {"status": self.info()}, None)
