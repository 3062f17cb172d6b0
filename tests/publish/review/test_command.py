"""`pistachio review` as it is typed."""

import http.client
import json
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from batches import make_batch
from reviewing import run_review

from publish.__main__ import main

ROOT = Path(__file__).parents[3]


class Said(NamedTuple):
    """What a program ended with and said."""

    code: int
    out: str
    err: str


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`python -m publish review words`, in this program."""

    def run(*words: object) -> Said:
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["publish", "review", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_it_says_its_address_takes_votes_and_says_what_they_come_to(tmp_path: Path, say: Callable[..., Said]) -> None:
    make_batch(tmp_path / "batch", 8, 48)
    with run_review(tmp_path / "batch") as program:
        for item in program.get("items/state")["items"]:
            status, said = program.vote(item["id"], "approve")
            assert status == 200
            assert said["item"]["vote"] == "approve"
        again = str(uuid.uuid4())
        assert program.vote(item["id"], "reject", vote_id=again)[0] == 200
        assert program.vote(item["id"], "reject", vote_id=again)[0] == 200  # the answer was lost on its way
        said, complaints = program.end()
    assert f"8 of 8 voted on: {tmp_path / 'batch/votes.jsonl'}" in said
    assert complaints == ""
    assert len((tmp_path / "batch/votes.jsonl").read_text().splitlines()) == 9
    report = say(tmp_path / "batch", "--report", "--json")
    assert report.code == 0
    found = json.loads(report.out)
    assert (found["approved"], found["rejected"], found["compared"]) == (7, 1, 8)


def test_a_torn_line_is_told_of_and_what_cannot_be_is_one_line(tmp_path: Path, say: Callable[..., Said]) -> None:
    make_batch(tmp_path / "batch", 4, 48)
    (tmp_path / "batch/votes.jsonl").write_bytes(b'{"id": "')
    done = say(tmp_path / "batch", "--report")
    assert done.code == 0
    assert "notice: the last line of votes.jsonl was torn" in done.err
    missing = say(tmp_path / "nothing")
    assert (missing.code, missing.out) == (2, "")
    assert (
        missing.err
        == f"error: {tmp_path}/nothing: no such folder; name the folder of a batch, or any folder of pictures\n"
    )


def test_versions_that_the_repository_keeps_can_be_compared(tmp_path: Path, say: Callable[..., Said]) -> None:
    done = say("v3", "--against", "v2", "--votes", tmp_path, "--report", "--reveal")
    assert done.code == 0, done.err
    assert "v3 against v2: 0 of 24 pairs" in done.out
    assert list(tmp_path.iterdir()) == []  # a report writes nothing


@pytest.mark.slow
def test_no_vote_that_was_answered_is_lost_and_none_is_doubled_by_kills_at_any_moment(tmp_path: Path) -> None:
    """A client that sends what was not answered again, and a server that is killed while it writes."""
    folder, answered, unsure = tmp_path / "batch", set[str](), list[tuple[str, str, str]]()
    make_batch(folder, 40, 48)
    for delay in (0.03, 0.11, 0.19):
        with run_review(folder) as program:
            items = [item["id"] for item in program.get("items/state")["items"]]
            killer = threading.Timer(delay, program.process.kill)
            killer.start()
            fresh = ((str(uuid.uuid4()), items[i % 40], "reject" if i % 3 else "approve") for i in range(900))
            queue = [*unsure, *fresh]
            unsure = []
            for vote_id, item, vote in queue:
                try:
                    assert program.vote(item, vote, vote_id=vote_id)[0] == 200
                    answered.add(vote_id)
                except (OSError, http.client.HTTPException):
                    unsure = [(vote_id, item, vote)]
                    break
            assert unsure
            killer.join()
            program.process.communicate()
    with run_review(folder) as program:
        vote_id, item, vote = unsure[0]
        assert program.vote(item, vote, vote_id=vote_id)[0] == 200
    written = [json.loads(line)["id"] for line in (folder / "votes.jsonl").read_text().splitlines()]
    assert len(answered) > 10
    assert len(written) == len(set(written))
    assert set(written) == answered | {vote_id}
