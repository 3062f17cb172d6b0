"""votes.jsonl: one line per vote, only ever appended, on the disk before anybody is told that the vote counts."""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Literal

from filelock import FileLock
from pydantic import Field, ValidationError

from stages.contracts.artifact import Closed, first_problem
from stages.runtime.errors import UserError

VOTES = "votes.jsonl"
Cast = Literal["approve", "reject", "left", "right", "tie"]
ID = r"^[0-9a-f-]{8,40}$"


class Shown(Closed):
    """One picture as it lay before the voter."""

    file: str = Field(description="its name in the folder")
    pixels_sha256: str


class Vote(Closed):
    """One line.  An undo is a line too: it takes the vote ``undoes`` back and deletes nothing."""

    id: str = Field(pattern=ID, description="made by the page: a vote that is sent twice is one vote")
    time: datetime = Field(description="UTC")
    voter: str
    item: str = Field(description="of the picture or pair: of its name and pixels")
    vote: Cast | Literal["undo"] = Field(description="left and right as they were shown")
    undoes: str = ""
    shown: tuple[Shown, ...] = Field(description="from left to right")
    scores_shown: bool = Field(description="the voter had seen what the gate says")
    milliseconds: int = Field(ge=0, description="from the picture on the screen to the vote")


class VoteBook:
    """The votes of one file, shared with whoever else appends to it."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        """Read what is there.

        Args:
            path: of the file, which need not exist.
            writable: cut a torn last line off; it was never confirmed.

        Raises:
            UserError: naming the first whole line that is not a vote.
        """
        self.path, self.votes, self.notice = path, list[Vote](), ""
        self._read, self._mutex = 0, Lock()
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        if writable:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._catch_up(mend=True)
        else:
            self._catch_up(mend=False)

    def append(self, make: Callable[[Sequence[Vote]], Vote], vote_id: str) -> Vote:
        """Append what ``make`` makes of all votes so far; it is on the disk when this returns.

        A vote with the id ``vote_id`` that is there already is returned instead, and nothing is written.
        """
        with self._mutex, self._lock:
            self._catch_up(mend=True)
            for known in reversed(self.votes):
                if known.id == vote_id:
                    return known
            vote = make(self.votes)
            line = f"{vote.model_dump_json()}\n".encode()
            new = not self.path.exists()
            try:
                _extend(self.path, line)
                if new:
                    _sync_folder(self.path.parent)
            except OSError:  # whoever reads on must not find what was refused
                os.truncate(self.path, self._read)
                raise
            self._read += len(line)
            self.votes.append(vote)
            return vote

    def _catch_up(self, *, mend: bool) -> None:
        """Read the lines that were appended since, by this or another program."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            stream.seek(self._read)
            data = stream.read()
        whole, newline, tail = data.rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        if tail and (vote := _parse(tail)) is not None:  # whole but for its end: somebody's editor
            lines.append(tail)
            if mend:
                _extend(self.path, b"\n")
        elif tail:
            self.notice = f"the last line of {self.path.name} was torn and is dropped; it was never confirmed"
            if mend:
                os.truncate(self.path, self._read + len(data) - len(tail))
        first = len(self.votes) + 1
        for number, line in enumerate(lines, start=first):
            if not line.strip():
                continue
            vote = _parse(line)
            if vote is None:
                raise UserError(f"{self.path}:{number}", _why(line), "restore the file, or take the line out")
            self.votes.append(vote)
        self._read = self.path.stat().st_size if mend else self._read + len(data)


def _parse(line: bytes) -> Vote | None:
    try:
        return Vote.model_validate_json(line)
    except ValidationError:
        return None


def _why(line: bytes) -> str:
    try:
        Vote.model_validate_json(line)
    except ValidationError as error:
        return first_problem(error)
    return ""


def _extend(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """See the name of a new file on the disk, where folders can be synchronised."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def standing_votes(votes: Iterable[Vote], voter: str) -> dict[str, Vote]:
    """item -> the vote that counts: the voter's last one that was not taken back, oldest first."""
    cast: dict[str, Vote] = {}
    taken_back = {vote.undoes for vote in votes if vote.vote == "undo" and vote.voter == voter}
    for vote in votes:
        if vote.voter == voter and vote.vote != "undo" and vote.id not in taken_back:
            cast.pop(vote.item, None)
            cast[vote.item] = vote
    return cast


def last_vote(votes: Sequence[Vote], voter: str, items: Iterable[str]) -> Vote | None:
    """What an undo takes back: the voter's last vote on one of ``items`` that was not taken back yet."""
    of, taken_back = set(items), {vote.undoes for vote in votes if vote.vote == "undo" and vote.voter == voter}
    own = (vote for vote in reversed(votes) if vote.voter == voter and vote.vote != "undo" and vote.item in of)
    return next((vote for vote in own if vote.id not in taken_back), None)


def now() -> datetime:
    """The time of a vote, to the millisecond."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
