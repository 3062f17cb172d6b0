"""One review: what is looked at, whose votes count, and what has been said so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from publish.review.gallery import Item, Picture, name_item, read_gallery
from publish.review.pairs import Assignment, find_place, find_version, match_pairs, read_shots
from publish.review.report import Report, report_gate, report_preference
from publish.review.votes import VOTES, Cast, Shown, Vote, VoteBook, last_vote, now, standing_votes
from stages.runtime.errors import UserError

SINGLE: tuple[Cast, ...] = ("approve", "reject")
PAIR: tuple[Cast, ...] = ("left", "right", "tie")


@dataclass
class Review:
    """What the page and the report are made from."""

    name: str
    items: list[Item]
    book: VoteBook
    voter: str
    assignment: Assignment | None = None  # of a blind comparison
    reveal: bool = False
    notices: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)  # items whose scores some page asked for

    @cached_property
    def by_id(self) -> dict[str, Item]:
        """Items by their names."""
        return {item.id: item for item in self.items}

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """Every picture that may be shown, by the name that the page knows it by."""
        return {
            name: picture for item in self.items for name, picture in zip(names_of(item), item.pictures, strict=True)
        }

    @property
    def choices(self) -> tuple[Cast, ...]:
        """What can be voted."""
        return PAIR if self.assignment else SINGLE

    def standing(self) -> dict[str, Vote]:
        """The votes that count, of what is looked at, oldest first."""
        return {item: vote for item, vote in standing_votes(self.book.votes, self.voter).items() if item in self.by_id}

    def cast(self, vote_id: str, item_id: str, vote: Cast, scores_shown: bool, milliseconds: int) -> Vote:
        """Write a vote down.

        Raises:
            UserError: when nothing of that name is looked at, or it is no vote of this kind of review.
        """
        item = self.by_id.get(item_id)
        if item is None:
            raise UserError(item_id, "is not looked at", "load the page again")
        if vote not in self.choices:
            raise UserError(vote, "is no vote here", f"one of {', '.join(self.choices)}")
        shown = tuple(Shown(file=each.file, pixels_sha256=each.pixels_sha256) for each in item.pictures)

        def make(_: Sequence[Vote]) -> Vote:
            return Vote(
                id=vote_id, time=now(), voter=self.voter, item=item_id, vote=vote, shown=shown,
                scores_shown=scores_shown or item_id in self.seen, milliseconds=milliseconds,
            )  # fmt: skip

        return self.book.append(make, vote_id)

    def undo(self, vote_id: str) -> Vote:
        """Write down that the last vote does not count.

        Raises:
            UserError: when there is none.
        """

        def make(votes: Sequence[Vote]) -> Vote:
            last = last_vote(votes, self.voter, self.by_id)
            if last is None:
                raise UserError("undo", "there is no vote to take back")
            change = {"id": vote_id, "time": now(), "vote": "undo", "undoes": last.id, "milliseconds": 0}
            return last.model_copy(update=change)

        return self.book.append(make, vote_id)

    def describe(self) -> dict[str, Any]:
        """What the page shows: nothing of it says what the gate decided or which version is which."""
        standing = self.standing()
        notices = [*self.notices, *([self.book.notice] if self.book.notice else [])]
        return {
            "name": self.name, "pairs": self.assignment is not None, "voter": self.voter, "notices": notices,
            "gate": any(item.pictures[0].record for item in self.items) and self.assignment is None,
            "start": next_item([item.id for item in self.items], list(standing)), "undoable": bool(standing),
            "open": self.is_open(standing), "items": [self.describe_item(item, standing) for item in self.items],
        }  # fmt: skip

    def describe_item(self, item: Item, standing: dict[str, Vote]) -> dict[str, Any]:
        """One item, and what was said of it."""
        vote = standing.get(item.id)
        record = item.pictures[0].record
        compared = vote and record and not self.assignment
        return {
            "id": item.id, "prompt": item.prompt, "pictures": names_of(item), "vote": vote.vote if vote else None,
            "disagrees": bool(compared and vote and record and (vote.vote == "approve") != record.approved),
        }  # fmt: skip

    def is_open(self, standing: dict[str, Vote]) -> bool:
        """Whether the report may be shown: a blind comparison opens at its end, unless it is told to sooner."""
        return self.assignment is None or self.reveal or len(standing) == len(self.items)

    def report(self) -> Report:
        """What the votes say.

        Raises:
            UserError: when the comparison is still blind.
        """
        standing = self.standing()
        if not self.is_open(standing):
            left = len(self.items) - len(standing)
            what = f"{left} of {len(self.items)} pairs have no vote by {self.voter}; which is which is told at the end"
            raise UserError(self.name, what, "vote, or open it now: --reveal")
        if self.assignment is not None:
            return report_preference(self.items, standing, self.assignment)
        return report_gate(self.items, standing)


def names_of(item: Item) -> list[str]:
    """The names by which the page asks for an item's pictures, left to right."""
    return [name_item(item.id, number) for number in range(len(item.pictures))]


def next_item(items: Sequence[str], voted: Sequence[str]) -> str | None:
    """Where to go on: the first one without a vote behind the last vote, then from the beginning; None: no such."""
    done = set(voted)
    start = items.index(voted[-1]) + 1 if voted else 0
    return next((item for item in [*items[start:], *items[:start]] if item not in done), None)


def open_review(
    folder: str, against: str | None, *, voter: str, votes: Path | None, seed: int | None, reveal: bool, writable: bool
) -> Review:
    """Read what is to be looked at and what was said of it.

    Args:
        folder: of a batch or of pictures; with ``against`` also a promoted version's name.
        against: the version to compare with; None: pictures one by one.
        voter: whose votes.
        votes: folder of votes.jsonl; None: the folder of the pictures, or metrics/votes.
        seed: of a comparison's sides; None: the stored one, or a random one.
        reveal: open a comparison before its end.
        writable: votes will be added.

    Raises:
        UserError: when a folder is missing, holds nothing to look at, or is no place for votes.
    """
    if not voter.strip() or not voter.isprintable() or len(voter) > 64:
        raise UserError("--voter", "not a name of 1 to 64 printable characters", "--voter NAME")
    if against is None:
        path = Path(folder)
        items, notices = read_gallery(path)
        place = find_place(path, votes)
        return Review(path.resolve().name, items, VoteBook(place / VOTES, writable=writable), voter, notices=notices)
    shots = [read_shots(find_version(name)) for name in (folder, against)]
    place = find_place(find_version(folder), votes) / f"{shots[0].name}_against_{shots[1].name}"
    items, assignment = match_pairs(shots[0], shots[1], place, seed, writable=writable)
    book = VoteBook(place / VOTES, writable=writable)
    name = f"{shots[0].name} against {shots[1].name}"
    return Review(name, items, book, voter, assignment=assignment, reveal=reveal)
