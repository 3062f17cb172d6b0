"""From a restarted machine to READY: everything installed as pinned, ComfyUI running, all checks passed.

Each step says why it ran or was skipped.  Safe to run again, also after it was killed: what is done is not done twice,
what was broken off is taken up.  A second run changes nothing.

  python -m pod startup                     everything
  python -m pod startup --only models       one step (and the steps named beside it)
  python -m pod startup --dry-run           name the steps

Exit code 0: READY.  1: something fails, named with the line that mends it.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pod import comfyui, keeper, machine
from pod.database import repair
from pod.environments import check_base, prepare
from pod.errors import PodError
from pod.files import locked, sha256_file
from pod.health import Health, find_lora, wait_for
from pod.models import Seen, bring
from pod.processes import end_leftovers, find_program, start_service, stop_service, tail
from pod.processes import run as run_helper
from pod.repositories import place
from pod.settings import Places, read_settings
from pod.startup_settings import CODE, Startup
from pod.table import FAIL, PASS, RAN, SKIPPED, Row, exit_code, print_row, print_table

Outcome = tuple[str, str]
IN_COMFYUI = ("nodes", "models", "lora", "database", "server")


@dataclass
class Pod:
    """What every step works with."""

    places: Places
    settings: Startup
    health: Health
    config: Path | None
    rows: list[Row] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.places.at(self.places.state)

    @property
    def log(self) -> Path:
        return self.places.at(self.places.logs) / "startup.log"

    @property
    def comfyui(self) -> Path:
        return self.places.at(self.places.comfyui)

    @property
    def changed(self) -> list[str]:
        return [row.what for row in self.rows if row.status == RAN]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pod startup`."""
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", help=f"of {', '.join(STEPS)}")
    parser.add_argument("--dry-run", action="store_true", help="name the steps and do nothing")


def run(arguments: argparse.Namespace) -> int:
    """Take the steps in order; the first that fails ends it."""
    config = arguments.config
    pod = Pod(
        read_settings("pod", Places, config), read_settings("startup", Startup, config),
        read_settings("health", Health, config), config,
    )  # fmt: skip
    wanted = [name for name in STEPS if not arguments.only or name in arguments.only]
    if arguments.dry_run:
        return print_table([Row(SKIPPED, name, _first_line(STEPS[name])) for name in wanted], arguments.json)
    with locked(pod.state / "startup.lock", "startup"):
        end_leftovers(pod.log)
        for name in wanted:
            if not _take(name, pod, quiet=arguments.json):
                break
    if arguments.json:
        return print_table(pod.rows, as_json=True)
    ready = not exit_code(pod.rows) and len(wanted) == len(STEPS)
    print(f"{len(pod.changed)} changed" + (f": {', '.join(pod.changed)}" if pod.changed else ""))
    if ready:
        print(f"READY: {pod.places.comfyui_url}")
    return exit_code(pod.rows)


def _first_line(step: Callable[[Pod], object]) -> str:
    return (step.__doc__ or "").strip().splitlines()[0]


def _take(name: str, pod: Pod, quiet: bool) -> bool:
    """Take one step; whether the next may follow."""
    began, count = time.monotonic(), len(pod.rows)
    try:
        if name in IN_COMFYUI and not pod.comfyui.is_dir():  # what a step puts there would keep git from cloning it
            raise PodError(pod.comfyui, "there is no ComfyUI", "python -m pod startup --only comfyui")
        for row in STEPS[name](pod):
            pod.rows.append(row)
            if not quiet:
                print_row(row)
    except PodError as error:
        pod.rows.append(Row(FAIL, name, f"{error.where}: {error.what}", error.todo))
        if not quiet:
            print_row(pod.rows[-1])
    took = time.monotonic() - began
    if took > 10 and not quiet:
        print(f"{'':8}({name}: {took:.0f} s)")
    return not exit_code(pod.rows[count:])


def _preflight(pod: Pod) -> list[Row]:
    """Look at disk, port, git and Python before anything is changed."""
    free = machine.free_disk_gb(pod.comfyui)
    missing = sum(m.size for m in pod.settings.models if not (pod.comfyui / "models" / m.path).is_file()) / 1e9
    least = pod.settings.disk_gb if missing else 1.0
    rows = [
        Row(
            PASS if free >= max(least, missing) else FAIL,
            "disk",
            f"{free:.1f} GB free, at least {max(least, missing):.1f}",
        )
    ]
    port = comfyui.port_of(pod.places.comfyui_url)
    ours = keeper.running(comfyui.lock_of(pod.places)) is not None  # it may be starting
    if not ours and machine.is_taken(port) and not comfyui.answers(pod.places.comfyui_url):
        todo = "end it, or set pod.comfyui_url to another port"
        rows.append(Row(FAIL, "port", f"{port} is taken by another program", todo))
    bases = {e.base for e in (pod.settings.environments or {}).values() if not pod.places.at(e.python).exists()}
    rows += [Row(PASS, "python", check_base(base)) for base in sorted(bases)]
    if not shutil.which("git") and (pod.settings.nodes or pod.settings.comfyui):
        rows.append(Row(FAIL, "git", "is not installed", "apt-get install -y git"))
    return rows


def _comfyui(pod: Pod) -> list[Row]:
    """ComfyUI's checkout at its pinned commit."""
    wanted = pod.settings.comfyui
    if wanted and wanted.commit:
        return [Row(*_named(place(wanted, pod.comfyui, pod.state, pod.log), "ComfyUI"))]
    if not pod.comfyui.is_dir():
        raise PodError(pod.comfyui, "there is no ComfyUI", "set [startup.comfyui], or pod.comfyui to its folder")
    return [Row(SKIPPED, "ComfyUI", f"{pod.comfyui} as it is: no commit is pinned")]


def _named(outcome: Outcome, name: str) -> tuple[str, str, str]:
    return outcome[0], name, outcome[1]


def _nodes(pod: Pod) -> list[Row]:
    """Custom nodes at their pinned commits."""
    folder = pod.comfyui / "custom_nodes"
    return [Row(*_named(place(node, folder / node.name, pod.state, pod.log), node.name)) for node in pod.settings.nodes]


def _requirements(pod: Pod) -> list[Row]:
    """Pinned packages of the workspace, of ComfyUI (its frontend too) and of its nodes."""
    rows = []
    for name, wanted in (pod.settings.environments or {}).items():
        outcome = prepare(name, wanted, pod.places.workspace, pod.state, pod.log)
        rows.append(Row(*_named(outcome, f"packages of {name}")))
    return rows


def _models(pod: Pod) -> list[Row]:
    """Model files by address, size and sha256; weights of the profile."""
    mirror = os.environ.get("PISTACHIO_MIRROR_COMFYUI", pod.settings.mirror)
    seen, rows = Seen(pod.state / "seen.json"), []
    for model in pod.settings.models:
        try:
            rows.append(Row(*_named(bring(model, pod.comfyui / "models", mirror, seen), model.path)))
        except PodError as error:
            rows.append(Row(FAIL, model.path, f"{error.where}: {error.what}", error.todo))
    if pod.settings.profile:
        rows.append(_weights(pod))
    return rows


def _weights(pod: Pod) -> Row:
    command = [pod.places.interpreter, "-m", "stages", "models", "get", "--profile", pod.settings.profile]
    said = run_helper(command, pod.log, pod.places.workspace).splitlines()
    new = [line for line in said if ": is here" not in line and line.strip()]
    name = f"weights of {pod.settings.profile}"
    return Row(RAN, name, new[-1]) if new else Row(SKIPPED, name, f"{len(said)} models are here")


def _lora(pod: Pod) -> list[Row]:
    """The trained LoRA, in ComfyUI's folder under a name that holds its hash."""
    found = find_lora(pod.places)
    if found is None:
        return [Row(SKIPPED, "LoRA", "none is trained yet")]
    lora, deployed = found
    if deployed.is_file() and sha256_file(deployed) == sha256_file(lora):
        return [Row(SKIPPED, "LoRA", f"{deployed.name} is there")]
    deployed.parent.mkdir(parents=True, exist_ok=True)
    beside = deployed.with_name(f".{deployed.name}.part")
    shutil.copyfile(lora, beside)
    os.replace(beside, deployed)
    return [Row(RAN, "LoRA", f"{deployed.name} was not there")]


def _database(pod: Pod) -> list[Row]:
    """Rights on ComfyUI's user folder and its database."""
    return [Row(*_named(repair(pod.comfyui), "database"))]


def _server(pod: Pod) -> list[Row]:
    """ComfyUI running, and started anew when what it loads has changed."""
    places = pod.places
    lock, watch = comfyui.lock_of(places), places.at(places.state) / "watch.pid"
    holder = keeper.running(lock)
    why = "was not running"
    if holder is not None:
        loaded = _newer(pod, float(holder["started"]))
        if not loaded and comfyui.answers(places.comfyui_url):
            return [Row(SKIPPED, "server", f"runs, pid {holder['pid']}")]
        why = f"was started before {', '.join(loaded)} changed" if loaded else "did not answer"
        stop_service(watch)
        stop_service(lock)
    elif comfyui.answers(places.comfyui_url):
        return [Row(SKIPPED, "server", f"{places.comfyui_url} answers; started by somebody else, so left alone")]
    command = comfyui_command(places, pod.settings)
    if pod.settings.supervise:
        words = [
            sys.executable,
            "-m",
            "pod",
            "watch",
            *(["--config", str(pod.config.absolute())] if pod.config else []),
        ]
        log = places.at(places.logs) / "watch.log"
        start_service(watch, words, log, places.workspace, {"PYTHONPATH": str(CODE)})
    else:
        log = comfyui.log_of(places)
        start_service(lock, command, log, pod.comfyui)
    _await_answer(pod, watch if pod.settings.supervise else lock, log)
    return [Row(RAN, "server", f"{why}; pid {(keeper.running(lock) or {}).get('pid')}, log {comfyui.log_of(places)}")]


def _newer(pod: Pod, started: float) -> list[str]:
    """What ComfyUI loads when it starts and has changed since, by files that each change writes."""
    folders = {"ComfyUI": pod.comfyui, **{n.name: pod.comfyui / "custom_nodes" / n.name for n in pod.settings.nodes}}
    marks = {name: folder / ".git/HEAD" for name, folder in folders.items()}
    own = (pod.settings.environments or {}).get("comfyui")
    marks |= {"its packages": pod.state / "comfyui.json"} if own else {}
    return [name for name, mark in marks.items() if mark.is_file() and mark.stat().st_mtime > started]


def comfyui_command(places: Places, settings: Startup) -> list[str]:
    """What starts ComfyUI.

    Raises:
        PodError: when it cannot be started.
    """
    python = str(places.at(places.comfyui_python).absolute())
    filling = {"{python}": python, "{port}": str(comfyui.port_of(places.comfyui_url))}
    words = settings.command or ("{python}", "main.py", "--port", "{port}")
    command = [filling.get(word, word) for word in words]
    if not places.at(places.comfyui).is_dir():
        raise PodError(places.at(places.comfyui), "there is no ComfyUI", "python -m pod startup")
    find_program(command[0], places.at(places.comfyui), os.environ.get("PATH", os.defpath))
    return command


def _await_answer(pod: Pod, lock: Path, log: Path) -> None:
    """Wait until ComfyUI answers; ``lock`` is held by what was started, ``log`` is what that prints."""
    end, grace = time.monotonic() + pod.settings.ready_s, time.monotonic() + 10.0
    while not comfyui.answers(pod.places.comfyui_url, 1.0):
        now = time.monotonic()
        gone = now > grace and keeper.running(lock) is None
        if gone or now > end:
            last = " | ".join(tail(comfyui.log_of(pod.places)) or tail(log))
            what = "ended" if gone else f"does not answer after {pod.settings.ready_s:.0f} s"
            raise PodError("ComfyUI", f"{what}: {last}", f"see {comfyui.log_of(pod.places)}")
        time.sleep(0.1)


def _health(pod: Pod) -> list[Row]:
    """The full health check."""
    return wait_for(pod.places, pod.health, pod.settings, 10.0)


STEPS: dict[str, Callable[[Pod], list[Row]]] = {
    "preflight": _preflight, "comfyui": _comfyui, "nodes": _nodes, "requirements": _requirements, "models": _models,
    "lora": _lora, "database": _database, "server": _server, "health": _health,
}  # fmt: skip
"""In this order: what is installed before what loads it."""
