"""Have the ComfyUI servers all that it takes?  Asked before anything is deleted or drawn."""

import shutil
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.backends.generate.comfyui.jobs import read_base
from stages.backends.generate.comfyui.preflight import find_graph_problems
from stages.backends.generate.comfyui.server import Server, Unreachable
from stages.contracts.comfyui_settings import PLAIN, ComfyUI
from stages.contracts.lora import SUFFIX
from stages.contracts.samplers import comfyui_sampler
from stages.contracts.settings import Eval, Machine, Sweep
from stages.contracts.workflows import Workflow, read_workflow
from stages.runtime.errors import UserError

LEAST_FREE_GB = 2.0
# InstantID's face analysis reads these from the disk by itself, so no list of the server names them.
ANTELOPE = ("1k3d68", "2d106det", "genderage", "glintr100", "scrfd_10g_bnkps")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    server: str
    what: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Wanted:
    """What servers should be able to draw."""

    bases: tuple[Path, ...]
    modes: tuple[str, ...]
    samplers: tuple[str, ...]

    @classmethod
    def of(cls, sweep: Sweep, judged: Eval | None = None) -> "Wanted":
        """What sweep and eval ask for."""
        samplers = (*sweep.samplers, *((judged.base_sampler,) if judged else ()))
        return cls(sweep.bases, tuple(dict.fromkeys((PLAIN, *sweep.modes))), tuple(dict.fromkeys(samplers)))


def examine(machine: Machine, comfyui: ComfyUI, wanted: Wanted) -> Iterator[Finding]:
    """Look at every server of ``machine.comfyui_urls``, one finding after the other."""
    for url in machine.comfyui_urls:
        server = Server(url)
        try:
            yield _look_at(server)
            yield from _look_at_workflows(server, comfyui, wanted)
            yield _look_at_log(server)
            yield _look_at_loras(server, machine.comfyui_loras)
            yield from _look_at_disk(server, wanted)
        except UserError as error:
            yield Finding(url, "server", False, str(error).removeprefix(f"{url}: "))
        finally:
            server.close()


def list_comfyui_problems(machine: Machine, comfyui: ComfyUI, wanted: Wanted) -> list[str]:
    """What is wrong, one line each."""
    found = [finding for finding in examine(machine, comfyui, wanted) if not finding.ok]
    return [f"{finding.server}: {finding.what}: {finding.detail}" for finding in found]


def _look_at(server: Server) -> Finding:
    stats = server.stats()
    device = (stats.get("devices") or [{}])[0]
    free = f"{device.get('vram_free', 0) / 2**30:.1f} of {device.get('vram_total', 0) / 2**30:.1f} GiB free"
    version = stats.get("system", {}).get("comfyui_version", "of unknown version")
    return Finding(
        server.url, "server", True, f"ComfyUI {version} on {device.get('name', 'an unknown device')}, {free}"
    )


def _look_at_workflows(server: Server, comfyui: ComfyUI, wanted: Wanted) -> Iterator[Finding]:
    for mode in wanted.modes:
        path = comfyui.workflows[mode]
        try:
            workflow = read_workflow(path)
            problems = [
                p for base in wanted.bases for p in _problems_of(server, comfyui, workflow, base, wanted.samplers)
            ]
        except UserError as error:
            problems = [str(error)]
        yield Finding(server.url, f"mode {mode}", not problems, "; ".join(dict.fromkeys(problems)) or path.as_posix())


def _problems_of(
    server: Server, comfyui: ComfyUI, workflow: Workflow, folder: Path, samplers: Iterable[str]
) -> list[str]:
    """What keeps a server from drawing with this workflow and base; LoRAs and photos are brought later."""
    base = read_base(folder, comfyui)
    pairs = [comfyui_sampler(sampler, str(base.noise.get("timestep_spacing", "leading"))) for sampler in samplers]
    lora = workflow.graph[workflow.roles["lora"]] if "lora" in workflow.roles else None

    def info(name: str) -> dict[str, Any] | None:
        found = deepcopy(server.node_info(name))
        if lora is not None and found is not None and name == lora["class_type"]:
            _allow(found, "lora_name", lora["inputs"].get("lora_name"))
        return found

    problems = []
    for sampler, scheduler in pairs:
        filling = {"checkpoint": {"ckpt_name": base.checkpoint},
                   "sampler": {"sampler_name": sampler, "scheduler": scheduler}}  # fmt: skip
        problems += find_graph_problems(workflow.fill(filling), info)
    return problems


def _allow(info: dict[str, Any], label: str, name: object) -> None:
    """Let a node's list of files hold one more."""
    wanted = info["input"]["required"][label]
    (wanted[0] if isinstance(wanted[0], list) else wanted[1]["options"]).append(name)


def _look_at_log(server: Server) -> Finding:
    """What a server leaves out of a LoRA it says in its log alone."""
    try:
        return Finding(server.url, "log", True, f"{len(server.log_lines())} lines can be read")
    except Unreachable:
        raise
    except UserError as error:
        return Finding(server.url, "log", False, f"{error.what}; {error.todo}")


def _look_at_loras(server: Server, set_folder: Path | None) -> Finding:
    folders = [set_folder] if set_folder else [Path(path) for path in server.folders().get("loras", [])]
    here = next((folder for folder in folders if folder.is_dir()), None)
    if here is None and set_folder is not None:
        return Finding(server.url, "LoRA folder", False, f"machine.comfyui_loras: {set_folder} is no folder")
    if here is None:
        todo = "set machine.comfyui_loras to the folder that it has as models/loras"
        return Finding(server.url, "LoRA folder", False, f"not on this machine; {todo}")
    files = {path.name for path in here.glob(f"*{SUFFIX}")}
    if files and not files & set(server.list_models("loras")):
        return Finding(server.url, "LoRA folder", False, f"the server sees none of the {len(files)} files in {here}")
    return Finding(server.url, "LoRA folder", True, f"{here} ({len(files)} files)")


def _look_at_disk(server: Server, wanted: Wanted) -> Iterator[Finding]:
    """What can be seen only where the server's disk is this machine's."""
    models = next((Path(p).parent for p in server.folders().get("checkpoints", []) if Path(p).is_dir()), None)
    if models is None:
        return
    free = shutil.disk_usage(models).free / 1e9
    yield Finding(server.url, "disk", free >= LEAST_FREE_GB, f"{free:.1f} GB free, {LEAST_FREE_GB:g} are the least")
    if "lora+instantid" in wanted.modes:
        pack = models / "insightface" / "models" / "antelopev2"
        missing = [name for name in ANTELOPE if not (pack / f"{name}.onnx").is_file()]
        detail = f"{pack} lacks {', '.join(missing)}" if missing else str(pack)
        yield Finding(server.url, "InstantID's face pack", not missing, detail)
