"""From a request to a graph: what ComfyUI must be told so that it draws what diffusers would."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.contracts.comfyui_settings import PLAIN, ComfyUI
from stages.contracts.generation import ImageRequest
from stages.contracts.lora_metadata import read_noise
from stages.contracts.samplers import comfyui_sampler
from stages.contracts.workflows import ROLES, Graph, Workflow, read_workflow
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file, hash_json

PREFIX = "pistachio"  # subfolder of the server's output folder
OVERLAP = 64  # px that tiles share
UPLOADED = ("reference", "image", "mask")


@dataclass(frozen=True)
class Base:
    """What a graph must say about a base model."""

    checkpoint: str  # file name on the servers
    noise: Mapping[str, Any]  # its scheduler's configuration
    zeros: bool  # an empty negative prompt is zeros, as with SDXL 1.0, and not the encoded empty text


def read_base(folder: Path, settings: ComfyUI) -> Base:
    """Read what the base's folder says.

    Raises:
        UserError: when it is no base model in diffusers' layout.
    """
    noise = read_noise(folder)
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(folder / "model_index.json", f"not readable ({error})", "fetch the base again") from None
    return Base(settings.checkpoint(folder), noise, bool(index.get("force_zeros_for_empty_prompt", True)))


@dataclass(frozen=True)
class Job:
    """One picture to draw, and everything about it that no server changes."""

    request: ImageRequest
    base: Base
    workflow: Workflow
    lora_sha256: str | None  # None: the graph has no LoRA
    uploads: Mapping[str, Path]  # role -> picture that the server must be given
    key: str  # hash of what decides the picture

    @property
    def lora_name(self) -> str:
        """The LoRA's name on the servers: ComfyUI keeps a name's weights for ever, so a name must mean one file."""
        assert self.request.lora is not None
        assert self.lora_sha256 is not None
        return f"{self.request.lora.stem}-{self.lora_sha256[:12]}.safetensors"


class Planner:
    """Makes jobs; files that many requests share are read once."""

    def __init__(self, settings: ComfyUI) -> None:
        """Read the workflows.

        Raises:
            UserError: when one cannot be used.
        """
        self.settings = settings
        self.workflows: dict[str, Workflow] = {}
        self.bases: dict[Path, Base] = {}
        self.hashes: dict[Path, str] = {}

    def workflow(self, mode: str) -> Workflow:
        """The workflow of a mode."""
        if mode not in self.workflows:
            self.workflows[mode] = read_workflow(self.settings.workflows[mode])
        return self.workflows[mode]

    def plan(self, request: ImageRequest) -> Job:
        """The job of a request; at strength 0 a LoRA that only the prompt calls is left out of the graph.

        Raises:
            UserError: when a file is missing, or ComfyUI cannot draw what is asked for.
        """
        plain = request.mode == "lora" and (request.lora is None or request.strength == 0)
        workflow = self.workflow(PLAIN if plain else request.mode)
        if request.base not in self.bases:
            self.bases[request.base] = read_base(request.base, self.settings)
        base, files = self.bases[request.base], _files_by_role(request, workflow)
        hashes = {role: self._hash(path) for role, path in files.items()}
        decides = {name: str(value) for name, value in vars(request).items() if not isinstance(value, Path)}
        key = hash_json([decides, hashes, workflow.sha256, base.checkpoint])
        return Job(request, base, workflow, hashes.get("lora"), {r: files[r] for r in UPLOADED if r in files}, key)

    def _hash(self, path: Path) -> str:
        if path not in self.hashes:
            if not path.is_file():
                raise UserError(path, "not found", "is it there? run `dvc repro train`, or set comfyui.reference")
            self.hashes[path] = hash_file(path)
        return self.hashes[path]


def _files_by_role(request: ImageRequest, workflow: Workflow) -> dict[str, Path]:
    """The files that the workflow's loaders need.

    Raises:
        UserError: when the request has none for one of them.
    """
    files = {"lora": request.lora, "reference": request.reference, "image": request.image, "mask": request.mask}
    found = {role: path for role, path in files.items() if role in workflow.roles and path is not None}
    missing = sorted(role for role in files if role in workflow.roles and role not in found)
    if missing:
        todo = "set comfyui.reference" if missing == ["reference"] else "name one, or take another workflow"
        raise UserError(workflow.path, f"@{missing[0]} {ROLES[missing[0]]}, but there is none", todo)
    return found


def escape(text: str) -> str:
    """A prompt that ComfyUI reads as it stands: brackets would be weights, as in (red:1.2)."""
    return re.sub(r"([()])", r"\\\1", text)


def fill_graph(job: Job, prompt_id: str, uploaded: Mapping[str, str], mark: str = "") -> Graph:
    """The graph that draws a job's picture.

    Args:
        job: what to draw.
        prompt_id: a new UUID; the picture's file is named for it, so that it can be found whatever happens.
        uploaded: role -> the name that the server knows its picture by.
        mark: goes to the LoRA's node, which does not know such an input; but it is another node to the server's cache.

    Raises:
        UserError: when the workflow lacks a role that this picture needs.
    """
    request, workflow = job.request, job.workflow
    spacing = str(job.base.noise.get("timestep_spacing", "leading"))
    sampler, scheduler = comfyui_sampler(request.sampler, spacing)
    filling: dict[str, dict[str, Any]] = {
        "checkpoint": {"ckpt_name": job.base.checkpoint},
        "prompt": {"text": escape(request.prompt)},
        "negative": {"text": escape(request.negative_prompt)},
        "sampler": {"seed": request.seed, "steps": request.steps, "cfg": request.guidance, "sampler_name": sampler,
                    "scheduler": scheduler, "denoise": request.denoise},
        "save": {"filename_prefix": f"{PREFIX}/{prompt_id}"},
    }  # fmt: skip
    filling |= {role: {"image": name} for role, name in uploaded.items()}
    if "image" not in uploaded:  # a picture that is changed has a size of its own
        filling["latent"] = {"width": request.width, "height": request.height, "batch_size": 1}
    if job.lora_sha256 is not None:
        strength = request.strength
        filling["lora"] = {"lora_name": job.lora_name, "strength_model": strength, "strength_clip": strength}
    velocity = job.base.noise.get("prediction_type") == "v_prediction"
    zero_snr = bool(job.base.noise.get("rescale_betas_zero_snr", False))
    if "noise" in workflow.roles or velocity or zero_snr:
        filling["noise"] = {"sampling": "v_prediction" if velocity else "eps", "zsnr": zero_snr}
    graph = workflow.fill(filling)
    if mark and job.lora_sha256 is not None:
        graph[workflow.roles["lora"]]["inputs"][PREFIX] = mark
    if request.vae_tile:
        _decode_in_tiles(graph, workflow, request.vae_tile)
    if job.base.zeros and not request.negative_prompt:
        _zero_negative(graph, workflow.roles["negative"])
    return graph


def _decode_in_tiles(graph: Graph, workflow: Workflow, tile: int) -> None:
    if "decode" not in workflow.roles:
        raise UserError(workflow.path, "no node is titled @decode, so eval.vae_tile cannot be obeyed", "title one so")
    node = graph[workflow.roles["decode"]]
    links = {name: node["inputs"][name] for name in ("samples", "vae")}
    node["class_type"] = "VAEDecodeTiled"
    node["inputs"] = links | {"tile_size": tile, "overlap": OVERLAP, "temporal_size": 64, "temporal_overlap": 8}


def _zero_negative(graph: Graph, negative: str) -> None:
    """Let everything that reads the empty negative prompt read zeros, as the base was trained."""
    zero = f"{negative}_zero"
    for node in graph.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list) and [str(value[0]), value[1]] == [negative, 0]:
                node["inputs"][name] = [zero, 0]
    graph[zero] = {
        "class_type": "ConditioningZeroOut", "inputs": {"conditioning": [negative, 0]},
        "_meta": {"title": "an empty negative prompt is zeros"},
    }  # fmt: skip
