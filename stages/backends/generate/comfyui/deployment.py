"""What a run needs on a server: its LoRAs, its reference photos, its nodes and its models."""

import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stages.backends.generate.comfyui.jobs import Job, fill_graph
from stages.backends.generate.comfyui.pictures import WrongPicture
from stages.backends.generate.comfyui.preflight import find_graph_problems
from stages.backends.generate.comfyui.server import Server
from stages.contracts.lora import read_header
from stages.runtime.errors import UserError
from stages.runtime.files import replacing
from stages.runtime.pictures import read_bytes
from stages.runtime.provenance import hash_file

# What ComfyUI says, in its log alone, of parts of a LoRA that it leaves out: an unknown name, a module that this model
# does not have, a tensor of another shape.
UNKNOWN, LEFT_OUT = "lora key not loaded:", ("NOT LOADED", "ERROR lora")


class Use(NamedTuple):
    """A LoRA in a model: what fits one base may not fit another."""

    lora_sha256: str
    checkpoint: str
    workflow: str


class Deployment:
    """One server, made ready for the jobs of a run."""

    def __init__(self, server: Server, loras: Path | None) -> None:
        self.server, self.loras = server, loras
        self.uploaded: dict[Path, str] = {}  # picture -> the name that the server knows it by
        self.staged: set[str] = set()
        self.info: dict[str, dict[str, Any] | None] = {}
        self.version = ""  # known when it is prepared
        self.trusted: set[Use] = set()  # of which all keys were seen to load
        # It says what it leaves out only when it applies the LoRA, and not when it has that from an earlier graph: so
        # ours must be unlike all earlier ones.
        self.mark = uuid.uuid4().hex
        self.since: dict[Use, str] = {}  # time of the log's last line before the first such graph was sent

    def read_version(self) -> str:
        """What the server runs, and on what kind of device.

        Raises:
            Unreachable: when it does not answer.
        """
        stats = self.server.stats()
        system, devices = stats.get("system", {}), stats.get("devices") or [{}]
        versions = f"ComfyUI {system.get('comfyui_version')}, torch {system.get('pytorch_version')}"
        return f"{versions}, {devices[0].get('type', 'no device')}"

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Stage LoRAs, upload photos and check every kind of graph of ``jobs``.

        Raises:
            Unreachable: when the server does not answer.
            UserError: naming everything that it lacks.
        """
        self.version = self.read_version()
        self._stage({job.lora_name: job for job in jobs if job.lora_sha256})
        for path in sorted({path for job in jobs for path in job.uploads.values()} - self.uploaded.keys()):
            self.uploaded[path] = self.server.upload(read_bytes(path), f"{hash_file(path)[:16]}{path.suffix.lower()}")
        kinds = {(job.workflow.path, job.base.checkpoint, job.request.sampler, job.lora_sha256): job for job in jobs}
        problems = [
            p for job in kinds.values() for p in find_graph_problems(self.graph(job, "check", ""), self._node_info)
        ]
        if problems:
            raise UserError(self.server.url, "; ".join(dict.fromkeys(problems)), "see docs/comfyui.md")

    def graph(self, job: Job, prompt_id: str, mark: str) -> dict[str, Any]:
        """The graph of a job as this server must be told it."""
        return fill_graph(job, prompt_id, {role: self.uploaded[path] for role, path in job.uploads.items()}, mark)

    def open_log(self, job: Job) -> str | None:
        """From when on the log will say what is left out of a job's LoRA; None where that need not be asked.

        Raises:
            Unreachable: when the server does not answer.
            UserError: when it does not show its log.
        """
        use = _use(job)
        if use is None or use in self.trusted:
            return None
        if use not in self.since:
            lines = self.server.log_lines()
            self.since[use] = lines[-1][0] if lines else ""
        return self.since[use]

    def check_keys(self, job: Job, since: str | None) -> None:
        """Make sure that the server used all of a job's LoRA: what it cannot use it leaves out, and says success.

        Args:
            job: of which a picture has just been drawn.
            since: what ``open_log`` said before it was sent.

        Raises:
            UserError: naming what was left out.
            WrongPicture: when the log has lost the lines that would say it, so that it must be drawn again.
        """
        use, lora = _use(job), job.request.lora
        if use is None or lora is None or since is None or use in self.trusted:
            return
        log = self.server.log_lines()
        lines = [text.strip() for time, text in log if time > since]
        own = set(read_header(lora).tensors)
        lost = [key for line in lines for key in line.partition(UNKNOWN)[2].split() if key in own]
        lost += [line for line in lines if line.startswith(LEFT_OUT)]
        if lost:
            self._apply_anew()
            what = f"{self.server.url} leaves out {len(lost)} of its tensors, for example {lost[0]}, and draws without"
            raise UserError(lora, what, "is it a LoRA for this base, in kohya's names?")
        if since and all(time != since for time, _ in log):  # it keeps some hundred lines, and none over a restart
            self._apply_anew()
            raise WrongPicture("the server's log no longer says whether all of the LoRA was used")
        self.trusted.add(use)

    def _apply_anew(self) -> None:
        """Let the next graphs be unlike all before, so that the server applies their LoRAs again and says how."""
        self.mark = uuid.uuid4().hex
        self.since.clear()

    def _stage(self, wanted: dict[str, Job]) -> None:
        """Put the LoRAs where the server finds them, and ask it whether it does."""
        if not wanted.keys() - self.staged:
            return
        folder = self._lora_folder()
        for name, job in wanted.items():
            source = job.request.lora
            assert source is not None
            if folder is not None:
                place = folder / name
                if not place.is_file() or hash_file(place) != job.lora_sha256:
                    _copy(source, place, job.lora_sha256)
        missing = sorted(set(wanted) - set(self.server.list_models("loras")))
        if missing:
            what = f"does not see the LoRA {missing[0]}" + (f" in {folder}" if folder else "")
            todo = "set machine.comfyui_loras to the folder that it has as models/loras, or copy the file there"
            raise UserError(self.server.url, what, todo)
        self.staged |= wanted.keys()
        self.info.clear()  # the lists in there are older

    def _lora_folder(self) -> Path | None:
        if self.loras is not None:
            if not self.loras.is_dir():
                raise UserError("machine.comfyui_loras", f"{self.loras} is no folder", "name ComfyUI's models/loras")
            return self.loras
        said = [Path(path) for path in self.server.folders().get("loras", [])]
        return next((path for path in said if path.is_dir()), None)

    def _node_info(self, name: str) -> dict[str, Any] | None:
        if name not in self.info:
            self.info[name] = self.server.node_info(name)
        return self.info[name]


def check_versions(versions: Iterable[str]) -> None:
    """Pictures of two versions may differ, so all servers must run the same.

    Raises:
        UserError: when they do not.
    """
    found = sorted(set(versions))
    if len(found) > 1:
        what = f"the servers run different versions: {'; '.join(found)}"
        raise UserError("machine.comfyui_urls", what, "the same picture must come from each: update them")


def _use(job: Job) -> Use | None:
    if job.lora_sha256 is None:
        return None
    return Use(job.lora_sha256, job.base.checkpoint, job.workflow.sha256)


def _copy(source: Path, place: Path, sha256: str | None) -> None:
    """Copy a LoRA to the name of its bytes.

    Raises:
        UserError: when it is not the file any more that was hashed.
    """
    with replacing(place) as beside:
        shutil.copyfile(source, beside)
        if hash_file(beside) != sha256:
            raise UserError(source, "was changed while it was read", "run again when nobody writes it")
