"""The ledger of paid time: append-only JSON lines, one when a session begins and one when it ends; money is Decimal.

Every line of a session has the same keys; the last line of a session_id says what is known of it.  ``cost_usd`` is that
session alone.  Where sessions of one machine overlap (a stage inside a cycle), the machine is paid once: `charge` gives
each second to the session that began last.
"""

import json
import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from pod.errors import PodError
from pod.files import read_json

CENT = Decimal("0.01")
FINE = Decimal("0.000001")  # of a line's own cost: for readers, nothing is summed from it
HOUR = 3600
NOTHING = Decimal(0)


@dataclass(frozen=True)
class Session:
    """One line: the fields that the ledger's readers expect, and who can still end it."""

    session_id: str
    start: str  # ISO 8601, UTC, whole seconds
    end: str | None
    duration_min: float | None
    activity: str
    gpu: str
    rate_per_hr: str  # dollars, as a string: no figure of money becomes a binary fraction
    cost_usd: str | None
    note: str = ""
    host: str = ""
    pid: int | None = None  # of what it pays for; None: begun by hand, ended by hand

    @property
    def rate(self) -> Decimal:
        """Dollars per hour."""
        return Decimal(self.rate_per_hr)


def say_time(seconds: float) -> str:
    """Whole seconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: str) -> int:
    """The inverse of ``say_time``."""
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def read_ledger(path: Path) -> list[Session]:
    """Every session as its last line says, in the order in which they began; empty without a ledger.

    A last line that a dying machine tore is passed over.

    Raises:
        PodError: when another line is no session.
    """
    if not path.exists():
        return []
    sessions: dict[str, Session] = {}
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = Session(**json.loads(line))
            read_time(found.start)
            read_time(found.end or found.start)
            if not Decimal(found.rate_per_hr).is_finite():
                raise ValueError(f"rate {found.rate_per_hr}")
        except (ValueError, TypeError, ArithmeticError) as error:
            if number == len(lines):  # no line break after it: torn
                continue
            raise PodError(
                f"{path}:{number}", f"not a line of a ledger ({error})", "restore it from a backup"
            ) from None
        sessions[found.session_id] = found
    return sorted(sessions.values(), key=lambda session: session.start)


def append(path: Path, session: Session) -> None:
    """Add one line and see it to the disk; a torn line before it is closed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = (json.dumps(asdict(session), ensure_ascii=False) + "\n").encode()
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                _cut(path, stream.seek(0, os.SEEK_END))
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _cut(path: Path, size: int) -> None:
    """Take away the torn last line: nobody ever read it."""
    whole = path.read_bytes()[:size].rpartition(b"\n")
    os.truncate(path, len(whole[0]) + len(whole[1]))


def begin(activity: str, gpu: str, rate: Decimal, now: float, pid: int | None = None) -> Session:
    """A session that begins now on this machine."""
    name = f"{say_time(now)}-{uuid.uuid4().hex[:8]}"
    return Session(name, say_time(now), None, None, activity, gpu, str(rate), None, "", socket.gethostname(), pid)


def finish(session: Session, now: float, note: str = "") -> Session:
    """The same session with its end; never before its start."""
    seconds = max(0, int(now) - read_time(session.start))
    cost = Decimal(seconds) * session.rate / HOUR
    return replace(
        session, end=say_time(read_time(session.start) + seconds), duration_min=round(seconds / 60, 4),
        cost_usd=str(cost.quantize(FINE, ROUND_HALF_EVEN)), note=note,
    )  # fmt: skip


def is_lost(session: Session) -> bool:
    """Whether an open session's process is gone without having ended it; one of another machine may still live."""
    if session.end is not None or session.pid is None or session.host != socket.gethostname():
        return False
    return not lives(session.pid)


def lives(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end it there
        import ctypes

        kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
        handle = kernel.OpenProcess(0x1000, False, pid)
        if handle:
            kernel.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A child that was killed and not yet waited for is no process any more.
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def beat_file(ledger: Path, session: Session) -> Path:
    """The file that a meter touches while its session runs."""
    return ledger.with_name(f"{ledger.stem}.beats") / session.session_id.replace(":", "")


def last_sign(session: Session, ledger: Path, heartbeat: Path) -> tuple[int, str]:
    """When a lost session was last seen alive, and by what: its meter's beat or a stage's heartbeat after its start."""
    start = read_time(session.start)
    signs = [(start, "no sign of life after its start")]
    with suppress(OSError):
        signs.append((int(beat_file(ledger, session).stat().st_mtime), "the meter's last beat"))
    beat = read_json(heartbeat)
    if isinstance(beat, dict) and isinstance(beat.get("time"), int | float):
        signs.append((int(beat["time"]), f"the last heartbeat of {beat.get('stage')}"))
    return max(signs)


def close_lost(ledger: Path, heartbeat: Path, others: bool = False) -> list[Session]:
    """End every session whose process is gone at its last sign of life; with ``others``, other machines' open ones too.

    ``others`` also ends what was begun by hand elsewhere: that machine is gone, nobody can end it there.
    """
    closed = []
    for session in read_ledger(ledger):
        elsewhere = session.end is None and session.host != socket.gethostname()
        if is_lost(session) or (others and elsewhere):
            when, sign = last_sign(session, ledger, heartbeat)
            closed.append(finish(session, when, f"closed at {sign}: its process or machine was gone"))
            append(ledger, closed[-1])
            beat_file(ledger, closed[-1]).unlink(missing_ok=True)
    return closed


@dataclass(frozen=True)
class Charge:
    """What a session is charged with: the seconds of its machine that no later session took."""

    session: Session
    seconds: int

    @property
    def dollars(self) -> Fraction:
        """Exact: nothing is rounded before it is shown."""
        return Fraction(self.session.rate) * self.seconds / HOUR


def charge(sessions: Iterable[Session], now: float) -> list[Charge]:
    """Charge every second of every machine once, to the session that began last; open sessions run until ``now``."""
    charges = []
    hosts: dict[str, list[Session]] = {}
    for session in sessions:
        hosts.setdefault(session.host, []).append(session)
    for own in hosts.values():
        spans = [(read_time(s.start), max(read_time(s.start), read_time(s.end) if s.end else int(now))) for s in own]
        edges = sorted({edge for span in spans for edge in span})
        taken = [0] * len(own)
        for left, right in pairwise(edges):
            covering = [i for i, (start, end) in enumerate(spans) if start <= left and end >= right]
            if covering:
                taken[max(covering, key=lambda i: (spans[i][0], i))] += right - left
        charges += [Charge(session, seconds) for session, seconds in zip(own, taken, strict=True)]
    return charges


def cents(exact: Fraction) -> Decimal:
    """Rounded to the cent, half to even: done once, with what is shown."""
    whole = Decimal(round(exact * 100))  # round() of a Fraction is half to even, and exact
    return (whole * CENT).quantize(CENT)


def share_out(parts: Sequence[Fraction]) -> list[Decimal]:
    """Every part in cents so that they add up to the sum in cents: what is left goes to the largest remainders."""
    floors = [part * 100 // 1 for part in parts]
    left = round(sum(parts, Fraction(0)) * 100) - sum(floors)
    order = sorted(range(len(parts)), key=lambda i: (floors[i] - parts[i] * 100, i))
    given = set(order[: int(left)])
    return [(Decimal(int(floor) + (i in given)) * CENT).quantize(CENT) for i, floor in enumerate(floors)]
