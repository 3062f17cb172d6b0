"""What one hour of this machine costs, and a meter around work: its session ends with it, however it ends."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pod.ledger import NOTHING, Session, append, beat_file, begin, finish
from pod.settings import Places, read_settings

VARIABLE = "PISTACHIO_COST"  # names the ledger for every process below
BEAT_S = 20.0
ASK_S = 15.0


@dataclass(frozen=True)
class CostSettings:
    """Table [cost]."""

    ledger: Path = Path("logs/cost.jsonl")
    gpu: str = ""  # empty: what nvidia-smi names
    rates: dict[str, float] = field(default_factory=dict)  # part of a GPU's name -> dollars per hour
    idle_stop: tuple[str, ...] = ()  # the command of --idle-stop; $NAMES of the environment are filled in
    busy_percent: int = 5  # GPU utilisation from which on a machine is not idle
    poll_s: float = 30.0


@dataclass(frozen=True)
class Meter:
    """Where this machine's sessions are written, and at what rate."""

    ledger: Path
    heartbeat: Path
    gpu: str
    rate: Decimal | None  # None: no rate is known
    settings: CostSettings
    places: Places


def open_meter(config: Path | None, ledger: Path | None = None) -> Meter:
    """The meter of this machine: ledger from the argument, else PISTACHIO_COST, else the settings."""
    places, settings = read_settings("pod", Places, config), read_settings("cost", CostSettings, config)
    named = os.environ.get(VARIABLE)
    found = ledger or (Path(named) if named else places.at(settings.ledger))
    gpu, rate = find_rate(settings.gpu or ask_gpu(), settings.rates)
    return Meter(found, places.at(places.logs) / "heartbeat.json", gpu, rate, settings, places)


def ask_gpu() -> str:
    """What nvidia-smi calls the first GPU; empty without one."""
    told = smi("name")
    return told.splitlines()[0].strip() if told else ""


def smi(query: str) -> str | None:
    """nvidia-smi's answer to one query, a line per GPU; empty where there is no nvidia-smi, None where it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_S)
        if done.returncode == 0:
            return done.stdout.strip()
    return None


def find_rate(gpu: str, rates: Mapping[str, float]) -> tuple[str, Decimal | None]:
    """The GPU as the settings name it, and its rate: the longest name that is part of ``gpu``."""
    named = [name for name in rates if name.lower() in gpu.lower()]
    if not gpu or not named:
        return gpu or "none", None
    name = max(named, key=len)
    return name, Decimal(str(rates[name]))


@contextmanager
def metered(meter: Meter, activity: str) -> Iterator[Session]:
    """A session around work, with a beat that says until when it lived if the machine dies."""
    session = begin(activity, meter.gpu, meter.rate or NOTHING, time.time(), os.getpid())
    append(meter.ledger, session)
    beat, over = beat_file(meter.ledger, session), threading.Event()
    beat.parent.mkdir(parents=True, exist_ok=True)

    def live() -> None:
        while not over.wait(BEAT_S):
            with suppress(OSError):
                beat.touch()

    thread = threading.Thread(target=live, name="meter", daemon=True)
    thread.start()
    note = ""
    try:
        yield session
    except BaseException as error:
        note = f"ended by {type(error).__name__}"
        raise
    finally:
        over.set()
        thread.join()
        append(meter.ledger, finish(session, time.time(), note))
        beat.unlink(missing_ok=True)
