"""A job and its draws: what the HTTP side and the worker tell each other through the store."""

from dataclasses import dataclass
from enum import StrEnum

LARGEST_SEED = 2**53 - 1  # the largest whole number that every JSON reader keeps (RFC 8259, section 6)


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"  # every picture that was asked for is there
    INCOMPLETE = "incomplete"  # fewer pictures passed the gate than were asked for
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (State.QUEUED, State.RUNNING)


@dataclass(frozen=True)
class Asked:
    """What a client asked for; the same words and seed are the same pictures."""

    prompt: str
    negative_prompt: str | None  # None: the settings'
    seed: int
    count: int


@dataclass(frozen=True)
class Draw:
    """One picture that was drawn for a job, delivered or not."""

    number: int  # 0, 1, ...: its seed is the job's seed plus this
    seed: int
    picture: int | None  # 0, 1, ... among the delivered ones; None: rejected
    sha256: str  # of the delivered file; empty: rejected
    reasons: tuple[str, ...]  # why it was rejected


@dataclass(frozen=True)
class Job:
    """A job as the store keeps it; times are seconds since 1970."""

    number: int  # rises with every job
    id: str
    owner: str  # the name of the key
    asked: Asked
    state: State
    created: float
    started: float | None
    finished: float | None
    attempts: int  # workers that died since its last picture
    failure: str  # name of the problem; empty: none
    detail: str
    draws: tuple[Draw, ...] = ()

    @property
    def pictures(self) -> tuple[Draw, ...]:
        """The delivered ones, in order."""
        return tuple(draw for draw in self.draws if draw.picture is not None)

    def seed_of(self, number: int) -> int:
        """The seed of a draw; behind the largest one follows 0."""
        return (self.asked.seed + number) % (LARGEST_SEED + 1)
