"""votes.jsonl: appended and never changed, whole after a crash, shared by whoever writes."""

import errno
import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publish.review.votes import Shown, Vote, VoteBook, last_vote, standing_votes
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_votes import add, make_vote
from publish.review.votes import VoteBook
book = VoteBook(Path(sys.argv[1]))
for number in range(40):
    add(book, make_vote(f"{sys.argv[3]}{number}", voter=sys.argv[3]))
"""


def make_vote(item: str = "a", vote: str = "approve", voter: str = "owner", **values: object) -> Vote:
    base = {
        "id": str(uuid.uuid4()), "time": datetime(2030, 1, 1, tzinfo=UTC), "voter": voter, "item": item, "vote": vote,
        "shown": (Shown(file=f"{item}.png", pixels_sha256="0"),), "scores_shown": False, "milliseconds": 900,
    }  # fmt: skip
    return Vote.model_validate(base | values)


def add(book: VoteBook, vote: Vote) -> Vote:
    return book.append(lambda _: vote, vote.id)


def test_votes_are_there_when_the_file_is_read_again(tmp_path: Path) -> None:
    book = VoteBook(tmp_path / "deep/votes.jsonl")
    votes = [add(book, make_vote(item)) for item in "abc"]
    assert VoteBook(tmp_path / "deep/votes.jsonl").votes == votes
    assert len((tmp_path / "deep/votes.jsonl").read_text().splitlines()) == 3


def test_a_vote_is_on_the_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, order, sync = VoteBook(tmp_path / "votes.jsonl"), [], os.fsync

    def fsync(number: int) -> None:
        order.append((os.fstat(number).st_size, len(book.votes)))
        sync(number)

    monkeypatch.setattr(os, "fsync", fsync)
    add(book, make_vote())
    size, counted = order[0]
    assert size == (tmp_path / "votes.jsonl").stat().st_size > 0
    assert counted == 0
    assert len(book.votes) == 1


def test_a_vote_that_is_sent_twice_is_one_vote(tmp_path: Path) -> None:
    vote = make_vote()
    book = VoteBook(tmp_path / "votes.jsonl")
    assert add(book, vote) == vote
    again = VoteBook(tmp_path / "votes.jsonl")  # the server was started again in between
    assert add(again, vote.model_copy(update={"milliseconds": 5})) == vote
    assert len((tmp_path / "votes.jsonl").read_text().splitlines()) == 1


def test_a_vote_that_a_full_disk_refuses_does_not_count_and_can_be_cast_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, vote = tmp_path / "votes.jsonl", make_vote("b")
    book = VoteBook(path)
    first = add(book, make_vote("a"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk, pytest.raises(OSError, match="No space"):
        disk.setattr(os, "fsync", full)
        add(book, vote)
    assert VoteBook(path).votes == book.votes == [first]
    add(book, vote)
    assert VoteBook(path).votes == [first, vote]


@settings(max_examples=40)
@given(cut=st.integers(0, 10_000), blank=st.booleans())
def test_wherever_a_crash_cuts_the_file_all_whole_lines_are_kept_and_writing_goes_on(cut: int, blank: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "votes.jsonl"
        book = VoteBook(path)
        votes = [add(book, make_vote(item)) for item in "abc"]
        data = path.read_bytes()
        cut %= len(data) + 1
        left = data[:cut] + (b"\0" * 40 if blank else b"")  # some file systems leave zeros
        path.write_bytes(left)
        whole = data[:cut].count(b"\n")
        torn = VoteBook(path)
        kept = torn.votes
        complete = not blank and cut < len(data) and data[cut : cut + 1] == b"\n"  # all but its end: nothing is lost
        assert kept == votes[: whole + complete]
        assert bool(torn.notice) == (not complete and left != b"" and not left.endswith(b"\n"))
        more = add(torn, make_vote("z"))
        assert VoteBook(path).votes == [*votes[: whole + complete], more]
        assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_report_drops_a_torn_line_without_touching_the_file(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    vote = add(VoteBook(path), make_vote())
    path.write_bytes(path.read_bytes() + b'{"id": "12')
    before = path.read_bytes()
    book = VoteBook(path, writable=False)
    assert book.votes == [vote]
    assert "torn" in book.notice
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["votes.jsonl"]


def test_a_spoilt_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    book = VoteBook(path)
    lines = [add(book, make_vote()).model_dump_json() for _ in range(2)]
    path.write_text(f"{lines[0]}\n{lines[1].replace('approve', 'maybe')}\n{lines[0]}\n")
    with pytest.raises(UserError, match=r"votes\.jsonl:2: vote"):
        VoteBook(path)


@given(st.lists(st.sampled_from(["a+", "a-", "b+", "c-", "undo", "other"]), max_size=25))
@settings(max_examples=40)
def test_undo_takes_back_one_vote_at_a_time_and_only_one_s_own(deeds: list[str]) -> None:
    """Against a plain stack."""
    with TemporaryDirectory() as folder:
        book = VoteBook(Path(folder) / "votes.jsonl")
        stack: list[tuple[str, str]] = []
        for deed in deeds:
            if deed == "undo":
                if last_vote(book.votes, "owner", "abc") is None:
                    assert not stack
                    continue
                last = last_vote(book.votes, "owner", "abc")
                assert last is not None
                add(book, make_vote(last.item, "undo", undoes=last.id))
                stack.pop()
            elif deed == "other":
                add(book, make_vote("a", "reject", "somebody"))
            else:
                stack.append((deed[0], "approve" if deed[1] == "+" else "reject"))
                add(book, make_vote(*stack[-1]))
        assert {item: vote.vote for item, vote in standing_votes(book.votes, "owner").items()} == dict(stack)
        assert len(book.votes) == sum(1 for _ in book.path.open()) if book.path.exists() else not book.votes


def test_two_programs_at_once_lose_no_vote(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    programs = [subprocess.Popen([*command, name], env=environment) for name in ("one", "two")]
    assert [program.wait(60) for program in programs] == [0, 0]
    votes = VoteBook(path).votes
    assert len(votes) == len({vote.id for vote in votes}) == 80
    for name in ("one", "two"):
        assert [vote.item for vote in votes if vote.voter == name] == [f"{name}{number}" for number in range(40)]


def test_two_servers_of_one_folder_know_each_other_s_votes(tmp_path: Path) -> None:
    one, other = (VoteBook(tmp_path / "votes.jsonl") for _ in range(2))
    first, second = add(one, make_vote("a")), make_vote("b")
    add(other, second)
    assert other.votes == [first, second]
    assert add(one, second.model_copy(update={"milliseconds": 5})) == second
    assert VoteBook(tmp_path / "votes.jsonl").votes == one.votes == [first, second]
