"""Token buckets: how often a key may ask."""

import math
import time
from collections.abc import Callable


class Buckets:
    """One bucket per key, which holds ``burst`` tokens and is filled at ``per_minute``.

    https://en.wikipedia.org/wiki/Token_bucket: a request is let through when its tokens are there, and takes them.
    """

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_minute / 60, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: tokens, when

    def take(self, key: str, tokens: int = 1) -> int:
        """0 when ``tokens`` could be taken; else the whole seconds after which they can be."""
        now = self._clock()
        held, when = self._buckets.get(key, (float(self._burst), now))
        held = min(self._burst, held + (now - when) * self._rate)
        if held < tokens:
            self._buckets[key] = (held, now)
            return max(1, math.ceil((tokens - held) / self._rate))
        self._buckets[key] = (held - tokens, now)
        return 0

    def give_back(self, key: str, tokens: int) -> None:
        """Return what was taken for something that did not happen."""
        held, when = self._buckets.get(key, (float(self._burst), self._clock()))
        self._buckets[key] = (min(self._burst, held + tokens), when)
