"""Is everything up now?  ComfyUI's answers, nodes, models, LoRA and database, disk, memory and graphics card.

  python -m pod health                one look
  python -m pod health --wait 300     look until everything passes, at most 300 s
  python -m pod health --json

Exit code 1 when something fails.
"""

import argparse
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pod import comfyui, machine
from pod.amounts import amount
from pod.database import find_fault
from pod.errors import PodError
from pod.models import Seen
from pod.settings import Places, read_settings
from pod.startup_settings import Startup
from pod.table import FAIL, PASS, SKIPPED, Row, exit_code, print_table

POLL_S = 2.0


@dataclass(frozen=True)
class Health:
    """Table [health]."""

    nodes: tuple[str, ...] = ("KSampler", "LoraLoader")  # classes that the workflows use
    disk_gb: float = 5.0  # the least that must be free
    ram_gib: float = 2.0
    vram_gib: float = 1.0
    celsius: int = 87


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `pod health`."""
    parser.add_argument("--wait", type=amount, default=0.0, metavar="SECONDS", help="look until everything passes")


def run(arguments: argparse.Namespace) -> int:
    """Look, and say what was found."""
    places = read_settings("pod", Places, arguments.config)
    settings = read_settings("health", Health, arguments.config)
    startup = read_settings("startup", Startup, arguments.config)
    return print_table(wait_for(places, settings, startup, arguments.wait), arguments.json)


def wait_for(places: Places, settings: Health, startup: Startup, seconds: float) -> list[Row]:
    """Look until nothing fails, at most so many seconds; the last look."""
    end = time.monotonic() + seconds
    while True:
        rows = list(examine(places, settings, startup))
        if not exit_code(rows) or time.monotonic() >= end:
            return rows
        time.sleep(min(POLL_S, max(0.05, end - time.monotonic())))


def examine(places: Places, settings: Health, startup: Startup) -> Iterator[Row]:
    """One look at everything."""
    yield from _look_at_server(places, settings)
    yield _look_at_models(places, startup)
    yield _look_at_lora(places)
    fault = find_fault(places.at(places.comfyui))
    yield Row(FAIL if fault else PASS, "database", fault or "can be written", "python -m pod startup" if fault else "")
    yield from _look_at_machine(places, settings)


def _look_at_server(places: Places, settings: Health) -> Iterator[Row]:
    url = places.comfyui_url
    try:
        stats = comfyui.ask(url, "/system_stats")
        queue = comfyui.read_queue(url)
        missing = [name for name in settings.nodes if not comfyui.ask(url, f"/object_info/{name}")]
    except PodError as error:
        yield Row(FAIL, "API", error.line, f"python -m pod startup; its log: {comfyui.log_of(places)}")
        return
    version = stats.get("system", {}).get("comfyui_version", "of unknown version")
    yield Row(PASS, "API", f"ComfyUI {version}, {len(queue.running)} running, {len(queue.pending)} waiting")
    if missing:
        todo = f"see why they did not load: {comfyui.log_of(places)}"
        yield Row(FAIL, "nodes", f"not there: {', '.join(missing)}", todo)
    else:
        yield Row(PASS, "nodes", f"{len(settings.nodes)} classes")


def _look_at_models(places: Places, startup: Startup) -> Row:
    folder, seen = places.at(places.comfyui) / "models", Seen(places.at(places.state) / "seen.json")
    faults = []
    for model in startup.models:
        path = folder / model.path
        if not path.is_file():
            faults.append(f"{model.path} is not there")
        elif model.size and path.stat().st_size != model.size:
            faults.append(f"{model.path} has {path.stat().st_size} bytes instead of {model.size}")
        elif model.sha256 and seen.sha256(path) != model.sha256:
            faults.append(f"{model.path} has another sha256")
    if faults:
        return Row(FAIL, "model files", "; ".join(faults), "python -m pod startup")
    return Row(PASS, "model files", f"{len(startup.models)} present and right")


def find_lora(places: Places) -> tuple[Path, Path] | None:
    """The LoRA that params.yaml names and where ComfyUI should have it; None: it is not trained yet."""
    try:
        text = places.at(Path("params.yaml")).read_text(encoding="utf-8")
    except OSError:
        return None
    train = re.search(r"^train:\n((?: .*\n|\n)*)", text, re.MULTILINE)
    version = re.search(r"^  version: ['\"]?([^'\"\s]+)", train[1], re.MULTILINE) if train else None
    lora = places.at(Path("models/lora")) / f"{version[1]}.safetensors" if version else None
    if lora is None or not lora.is_file():
        return None
    sha256 = Seen(places.at(places.state) / "seen.json").sha256(lora)
    return lora, places.at(places.comfyui) / "models/loras" / f"{lora.stem}-{sha256[:12]}.safetensors"


def _look_at_lora(places: Places) -> Row:
    found = find_lora(places)
    if found is None:
        return Row(SKIPPED, "LoRA", "none is trained yet")
    lora, deployed = found
    if deployed.is_file() and deployed.stat().st_size == lora.stat().st_size:
        return Row(PASS, "LoRA", f"{deployed.name} is {lora}")
    older = sorted(path.name for path in deployed.parent.glob(f"{lora.stem}-*.safetensors"))
    what = f"has {older[-1]}, which is another {lora.stem}" if older else f"has no {deployed.name}"
    return Row(FAIL, "LoRA", f"ComfyUI {what}", "python -m pod startup")


def _look_at_machine(places: Places, settings: Health) -> Iterator[Row]:
    for place in dict.fromkeys((places.workspace, places.at(places.comfyui))):
        free = machine.free_disk_gb(place)
        status = PASS if free >= settings.disk_gb else FAIL
        todo = "" if status == PASS else "make room: dvc gc --workspace, ComfyUI's output/ and temp/"
        yield Row(status, f"disk of {place}", f"{free:.1f} GB free, at least {settings.disk_gb:g}", todo)
    free_ram = machine.free_memory_gib()
    if free_ram is None:
        yield Row(SKIPPED, "memory", "this system does not say")
    else:
        status = PASS if free_ram >= settings.ram_gib else FAIL
        yield Row(status, "memory", f"{free_ram:.1f} GiB free, at least {settings.ram_gib:g}")
    cards = machine.read_cards()
    if not cards:
        yield Row(SKIPPED, "graphics card", "nvidia-smi names none")
    for card in cards:
        ok = card.free_gib >= settings.vram_gib and card.celsius <= settings.celsius
        detail = f"{card.name}: {card.free_gib:.1f} of {card.total_gib:.1f} GiB free, at least {settings.vram_gib:g}"
        detail += f"; {card.celsius} C, at most {settings.celsius}"
        yield Row(PASS if ok else FAIL, "graphics card", detail)
