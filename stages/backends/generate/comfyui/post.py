"""A server in a run: what it was sent, and since when it does not answer."""

import time
from dataclasses import dataclass, field

from stages.backends.generate.comfyui.deployment import Deployment
from stages.backends.generate.comfyui.server import Unreachable
from stages.contracts.workflows import Graph

REST = (0.25, 4.0)  # seconds until a server that did not answer is asked again: first and at most


@dataclass
class Flight:
    """One picture that a server was told to draw."""

    number: int
    prompt_id: str
    graph: Graph
    since: str | None  # from when on the log says what was left out of its LoRA; None: that was known before
    unseen: int = 0
    fetches: int = 0


@dataclass
class Post:
    """A server in this run: what it was sent, and since when it does not answer."""

    deployment: Deployment
    prepared: bool = False
    flights: list[Flight] = field(default_factory=list)
    down_since: float | None = None
    ask_again: float = 0.0
    rest: float = REST[0]
    failures: int = 0  # in a row
    why: str = ""

    @property
    def url(self) -> str:
        """The server's address."""
        return self.deployment.server.url

    def answered(self) -> None:
        """It is there."""
        self.down_since, self.rest, self.failures = None, REST[0], 0

    def failed(self, error: Unreachable) -> None:
        """It gave no usable answer: leave it alone for a while, longer each time."""
        now = time.monotonic()
        self.down_since, self.failures = self.down_since or now, self.failures + 1
        self.why = f"{error.where}: {error.what}"
        self.ask_again, self.rest = now + self.rest, min(2 * self.rest, REST[1])
