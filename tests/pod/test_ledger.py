"""The ledger: append-only lines, one machine paid once, money exact to the cent."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from pod.errors import PodError
from pod.ledger import (
    Session,
    append,
    beat_file,
    begin,
    cents,
    charge,
    close_lost,
    finish,
    is_lost,
    read_ledger,
    say_time,
    share_out,
)

START = 1_790_000_000
RATE = Decimal("0.60")


def session(number: int, start: int, seconds: int | None, activity: str = "train", **more: object) -> Session:
    found = begin(activity, "RTX 4090", RATE, START + start)
    found = Session(**vars(found) | {"session_id": f"s{number}"} | more)  # type: ignore[arg-type]
    return found if seconds is None else finish(found, START + start + seconds)


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_ten_sessions_with_a_crash_and_an_open_one_add_up_to_the_cent(tmp_path: Path) -> None:
    ledger, heartbeat = tmp_path / "cost.jsonl", tmp_path / "heartbeat.json"
    lengths = [1, 7, 59, 61, 333, 1000, 3599, 7201]  # seconds; eight that ended
    at = 0
    for number, seconds in enumerate(lengths):
        append(ledger, session(number, at, None))
        append(ledger, session(number, at, seconds, activity="train" if number % 2 else "sweep"))
        at += seconds + 10
    append(ledger, session(8, at, None, activity="eval", pid=dead_process()))  # crashed; last seen after 500 s
    heartbeat.write_text(json.dumps({"stage": "eval", "time": START + at + 500.9}))
    (closed,) = close_lost(ledger, heartbeat)
    assert (closed.session_id, closed.end, closed.duration_min) == (
        "s8",
        say_time(START + at + 500),
        round(500 / 60, 4),
    )
    assert "last heartbeat of eval" in closed.note
    at += 600
    append(ledger, session(9, at, None, activity="batch"))  # open still, 1,234 s so far
    seconds = sum(lengths) + 500 + 1234
    charges = charge(read_ledger(ledger), START + at + 1234)
    assert sum(c.seconds for c in charges) == seconds == 13_995
    exact = sum((c.dollars for c in charges), Fraction(0))
    assert exact == Fraction(60, 100) * seconds / 3600
    assert cents(exact) == Decimal("2.33")  # 2.3325
    parts = share_out([c.dollars for c in charges])
    assert sum(parts) == Decimal("2.33")
    assert len(parts) == 10


def test_figures_of_activities_add_up_though_each_alone_would_round_down() -> None:
    thirds = [Fraction(1, 300)] * 3  # a third of a cent each: one cent together
    assert [cents(part) for part in thirds] == [Decimal("0.00")] * 3
    assert share_out(thirds) == [Decimal("0.01"), Decimal("0.00"), Decimal("0.00")]


@pytest.mark.parametrize(
    ("exact", "shown"), [("0.005", "0.00"), ("0.015", "0.02"), ("0.025", "0.02"), ("2.675", "2.68")]
)
def test_half_a_cent_goes_to_the_even_one(exact: str, shown: str) -> None:
    assert cents(Fraction(exact)) == Decimal(shown)


def test_a_stage_inside_a_cycle_is_paid_once_and_to_the_stage() -> None:
    cycle, train = session(1, 0, 100, "cycle"), session(2, 20, 50, "train")
    assert {c.session.activity: c.seconds for c in charge([cycle, train], START)} == {"cycle": 50, "train": 50}


def test_two_machines_are_paid_both() -> None:
    one, other = session(1, 0, 100), session(2, 20, 50, host="elsewhere")
    assert sum(c.seconds for c in charge([one, other], START)) == 150


def test_a_session_never_ends_before_it_began() -> None:
    assert finish(session(1, 0, None), START - 50).duration_min == 0


def test_the_ledger_is_only_added_to(tmp_path: Path) -> None:
    ledger = tmp_path / "cost.jsonl"
    append(ledger, session(1, 0, None))
    before = ledger.read_bytes()
    append(ledger, session(1, 0, 60))
    assert ledger.read_bytes().startswith(before)
    assert [(s.session_id, s.cost_usd) for s in read_ledger(ledger)] == [("s1", "0.010000")]
    keys = list(json.loads(before))
    assert keys[:8] == "session_id start end duration_min activity gpu rate_per_hr cost_usd".split()


def test_a_torn_last_line_is_passed_over_and_closed_by_the_next(tmp_path: Path) -> None:
    ledger = tmp_path / "cost.jsonl"
    append(ledger, session(1, 0, 60))
    whole = ledger.read_bytes()
    with ledger.open("ab") as stream:
        stream.write(b'{"session_id": "s2", "sta')
    assert [s.session_id for s in read_ledger(ledger)] == ["s1"]
    append(ledger, session(3, 90, 60))
    assert [s.session_id for s in read_ledger(ledger)] == ["s1", "s3"]
    assert ledger.read_bytes().startswith(whole)


ENDLESS = json.dumps(asdict(session(2, 0, 60)) | {"rate_per_hr": "NaN"})


@pytest.mark.parametrize("line", ["{}", "[]", '{"session_id": 1}', "no JSON", ENDLESS])
def test_a_line_that_is_no_session_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    ledger = tmp_path / "cost.jsonl"
    append(ledger, session(1, 0, 60))
    ledger.write_text(ledger.read_text() + line + "\n")
    with pytest.raises(PodError, match=r"cost.jsonl:2: not a line of a ledger"):
        read_ledger(ledger)


def test_a_lost_session_ends_at_the_later_of_beat_and_heartbeat(tmp_path: Path) -> None:
    ledger, heartbeat = tmp_path / "cost.jsonl", tmp_path / "heartbeat.json"
    lost = session(1, 0, None, pid=dead_process())
    append(ledger, lost)
    beat = beat_file(ledger, lost)
    beat.parent.mkdir()
    beat.touch()
    os.utime(beat, (START + 90, START + 90))
    heartbeat.write_text(json.dumps({"stage": "train", "time": START - 5000}))  # of an earlier run
    (closed,) = close_lost(ledger, heartbeat)
    assert closed.end == say_time(START + 90)
    assert "beat" in closed.note
    assert not beat.exists()
    assert close_lost(ledger, heartbeat) == []


def test_what_lives_or_was_begun_by_hand_is_not_lost(tmp_path: Path) -> None:
    assert not is_lost(session(1, 0, None, pid=os.getpid()))
    assert not is_lost(session(2, 0, None))
    assert not is_lost(session(2, 0, None, pid=dead_process(), host="another pod"))
    ledger = tmp_path / "cost.jsonl"
    append(ledger, session(3, 0, None, host="a pod that is gone"))
    assert close_lost(ledger, tmp_path / "none.json") == []
    (closed,) = close_lost(ledger, tmp_path / "none.json", others=True)
    assert closed.cost_usd == "0.000000"
    assert "no sign of life" in closed.note


def test_two_thousand_sessions_are_added_up_quickly() -> None:
    many = [session(number, number * 10, 15) for number in range(2000)]
    began = time.perf_counter()
    assert sum(c.seconds for c in charge(many, START)) == 2000 * 10 + 5
    assert time.perf_counter() - began < 3
