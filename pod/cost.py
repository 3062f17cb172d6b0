"""Keep the ledger of paid time: start, stop, report, run a command on the meter, stop an idle machine.

The ledger is logs/cost.jsonl, one line when a session begins and one when it ends.  Stages start and stop sessions of
their own once the ledger is there or PISTACHIO_COST names one.  A session whose process died is closed at its last
heartbeat.

  python -m pod cost start --activity labelling     by hand; `cost stop` ends it
  python -m pod cost run repro -- dvc repro         a command on the meter
  python -m pod cost                                the report: totals by activity, per LoRA, per accepted image
  python -m pod cost stop --lost                    after a pod died: close what it left open
  python -m pod cost --idle-stop 30                 watch; after 30 idle minutes run [cost] idle_stop
"""

import argparse
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

from pod.amounts import amount, count
from pod.errors import PodError
from pod.files import read_json
from pod.idle import stop_when_idle
from pod.ledger import (
    NOTHING,
    Charge,
    Session,
    append,
    begin,
    cents,
    charge,
    close_lost,
    finish,
    is_lost,
    last_sign,
    read_ledger,
    share_out,
)
from pod.meter import VARIABLE, Meter, metered, open_meter
from pod.table import PASS, RAN, SKIPPED, WARN, Row, print_table

DRAWN = ("batch", "eval")  # activities that draw pictures to be accepted; the first that was paid for counts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with the ledger."""
    actions = ("start", "stop", "report", "run")
    parser.add_argument("action", nargs="?", choices=actions, default="report", help="default: report")
    parser.add_argument("words", nargs="*", metavar="ACTIVITY -- COMMAND", help="of run")
    parser.add_argument("--activity", default="", help="of start: what is paid for")
    parser.add_argument("--pid", type=count, help="of start and stop: the process that is paid for")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--session", help="of stop: which one; default the newest that was begun by hand")
    which.add_argument("--lost", action="store_true", help="of stop: all whose process or machine is gone")
    parser.add_argument("--note", default="", help="of stop: why it did not end well")
    parser.add_argument("--ledger", type=Path, help="default: PISTACHIO_COST, else [cost] ledger")
    parser.add_argument(
        "--batch-report", type=Path, help="of report: JSON with the number 'accepted'; begun: since when"
    )
    parser.add_argument(
        "--idle-stop", type=amount, metavar="MIN", help="run [cost] idle_stop after so many idle minutes"
    )


def run(arguments: argparse.Namespace) -> int:
    """The exit code: 0, or that of the command that was run."""
    if arguments.idle_stop is not None and (arguments.action != "report" or arguments.words):
        raise PodError("--idle-stop", f"waits, and {arguments.action} does not", "say one of them")
    meter = open_meter(arguments.config, arguments.ledger)
    if arguments.idle_stop is not None:
        return stop_when_idle(meter, arguments.idle_stop)
    match arguments.action:
        case "start":
            rows = _start(meter, arguments.activity or " ".join(arguments.words), arguments.pid)
        case "stop":
            rows = _stop(meter, arguments)
        case "run":
            return _run(meter, arguments.words, arguments.config)
        case _:
            rows = report(meter, arguments.batch_report)
    return print_table(rows, arguments.json)


def _start(meter: Meter, activity: str, pid: int | None) -> list[Row]:
    if not activity:
        raise PodError("cost start", "no activity", "cost start --activity labelling")
    rows = [_told(session) for session in close_lost(meter.ledger, meter.heartbeat)]
    rows += [] if pid else _warn_open(read_ledger(meter.ledger))
    session = begin(activity, meter.gpu, meter.rate or NOTHING, time.time(), pid)
    append(meter.ledger, session)
    rows.append(Row(RAN, activity, f"begun, {meter.gpu}, {session.rate_per_hr} $/h", numbers=asdict(session)))
    return [*rows, *_warn_rate(meter)]


def _stop(meter: Meter, arguments: argparse.Namespace) -> list[Row]:
    if arguments.lost:
        closed = close_lost(meter.ledger, meter.heartbeat, others=True)
        return [_told(session) for session in closed] or [Row(SKIPPED, "cost", "no session is lost")]
    open_ones = [session for session in read_ledger(meter.ledger) if session.end is None]
    if arguments.session:
        found = [session for session in open_ones if session.session_id == arguments.session]
    else:
        found = [session for session in open_ones if session.pid == arguments.pid]
    if not found:
        return [Row(SKIPPED, "cost", "no such session is open")]
    ended = finish(found[-1], time.time(), arguments.note)
    append(meter.ledger, ended)
    return [_told(ended)]


def _run(meter: Meter, words: Sequence[str], config: Path | None) -> int:
    if len(words) < 2:
        raise PodError("cost run", "no command", "cost run repro -- dvc repro")
    close_lost(meter.ledger, meter.heartbeat)
    env = meter.places.activated(config) | {VARIABLE: str(meter.ledger.resolve())}
    with metered(meter, words[0]):
        try:
            return subprocess.call(list(words[1:]), env=env)
        except OSError as error:
            raise PodError(words[1], f"cannot be started ({error.strerror})", "name a program") from None


def _told(session: Session) -> Row:
    detail = f"{session.duration_min} min, {session.cost_usd} $"
    status = WARN if session.note else RAN
    return Row(
        status, session.activity, f"{detail}; {session.note}" if session.note else detail, numbers=asdict(session)
    )


def _warn_open(sessions: Sequence[Session]) -> list[Row]:
    return [
        Row(WARN, s.activity, f"open since {s.start}" + (f", process {s.pid}" if s.pid else ""),
            f"python -m pod cost stop --session {s.session_id}")
        for s in sessions if s.end is None
    ]  # fmt: skip


def _warn_rate(meter: Meter) -> list[Row]:
    if meter.rate is not None:
        return []
    return [Row(WARN, "rate", f"no rate is known for GPU {meter.gpu}: counted as 0", "add it to [cost.rates]")]


def report(meter: Meter, batch: Path | None = None, now: float | None = None) -> list[Row]:
    """Totals by activity and as a whole, per LoRA and per accepted picture; open sessions are warned of.

    Nothing is written.  Figures by activity are rounded so that they add up to the total.
    """
    sessions = [
        finish(s, *last_sign(s, meter.ledger, meter.heartbeat)) if is_lost(s) else s for s in read_ledger(meter.ledger)
    ]  # what died is not paid until now; the next start writes that down
    if not sessions:
        return [Row(SKIPPED, "cost", f"{meter.ledger} holds no session", "python -m pod cost start --activity NAME")]
    charges = charge(sessions, time.time() if now is None else now)
    activities = sorted({session.activity for session in sessions})
    exact = {name: _spent(charges, name) for name in activities}
    rows = []
    for name, money in zip(activities, share_out(list(exact.values())), strict=True):
        own = [c for c in charges if c.session.activity == name]
        seconds = sum(c.seconds for c in own)
        numbers = {"usd": str(money), "seconds": seconds, "sessions": len(own)}
        rows.append(Row(PASS, name, f"{money} $, {seconds / 3600:.2f} h, {len(own)} sessions", numbers=numbers))
    total = sum(exact.values(), Fraction(0))
    rows.append(Row(PASS, "total", f"{cents(total)} $", numbers={"usd": str(cents(total))}))
    rows += _per_lora(sessions, total) + _per_picture(meter, batch, charges)
    return rows + _warn_open(sessions)


def _spent(charges: Sequence[Charge], activity: str) -> Fraction:
    return sum((c.dollars for c in charges if c.session.activity == activity), Fraction(0))


def _per_lora(sessions: Sequence[Session], total: Fraction) -> list[Row]:
    """All that was paid, shared by the trainings that ended well."""
    trained = sum(s.activity == "train" and s.end is not None and not s.note for s in sessions)
    if not trained:
        return []
    each = cents(total / trained)
    return [Row(PASS, "per LoRA", f"{each} $, everything over {trained} trainings", numbers={"usd": str(each)})]


def _per_picture(meter: Meter, batch: Path | None, charges: Sequence[Charge]) -> list[Row]:
    """What drawing cost per picture that was accepted: a batch's report, else the scorecard's passed pictures.

    Of a batch that says when it was begun, only sessions count that were open then or later.
    """
    path = batch or meter.places.at(Path("metrics/scorecard.json"))
    accepted, source = _accepted(path)
    own = [c for c in charges if c.session.end is None or c.session.end >= _begun(path)]
    exact = {name: _spent(own, name) for name in DRAWN}
    activity = next((name for name in DRAWN if exact[name]), None)
    if batch is not None and accepted is None:
        raise PodError(batch, "does not say how many pictures were accepted", "JSON with the number 'accepted'")
    if not accepted or activity is None:
        return []
    each = cents(exact[activity] / accepted)
    detail = f"{each} $, {activity} over {accepted} pictures ({source})"
    return [Row(PASS, "per accepted image", detail, numbers={"usd": str(each), "accepted": accepted})]


def _begun(path: Path) -> str:
    """When the work of a report began, as the ledger writes times; empty, before everything, where it does not say."""
    found = read_json(path)
    begun = found.get("begun") if isinstance(found, dict) else None
    return begun if isinstance(begun, str) else ""


def _accepted(path: Path) -> tuple[int | None, str]:
    found = read_json(path)
    if not isinstance(found, dict):
        return None, ""
    if isinstance(found.get("accepted"), int):
        return found["accepted"], path.name
    images, share = found.get("images_evaluated"), found.get("face_similarity_pass")
    if isinstance(images, int) and isinstance(share, int | float):
        return round(images * share), path.name
    return None, ""
