"""Draws with diffusers' SDXL pipeline; the picture of a request depends on nothing but the request.

Requests with the same settings share a forward pass.  Each picture has its own noise, drawn on the CPU from its seed,
and every forward pass has the same size, padded where requests run out: neighbours and grouping change nothing.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from stages.backends.generate.lora import Blend, Layer, read_layers, touches_text
from stages.backends.generate.samplers import SAMPLERS, open_sampler
from stages.backends.sdxl import check_base, compile_blocks, open_pipeline
from stages.contracts.generation import ImageRequest
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_unchanged


class LoraKey(NamedTuple):
    """A LoRA file as it is now: a path alone may hold other weights tomorrow."""

    path: Path
    sha256: str


class Group(NamedTuple):
    """What requests must share to be drawn in one forward pass."""

    base: Path
    lora: LoraKey | None
    strength: float
    sampler: str
    steps: int
    guidance: float
    width: int
    height: int
    vae_tile: int | None


class Base:
    """One base model, loaded, with at most one LoRA in its weights."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        on_gpu = machine.device.startswith("cuda")
        self.pipeline = open_pipeline(folder, torch.float16 if on_gpu else torch.float32)
        if on_gpu and machine.offload:
            self.pipeline.enable_model_cpu_offload(device=machine.device)
        else:
            self.pipeline.to(machine.device)
        if on_gpu:
            self.pipeline.unet.to(memory_format=torch.channels_last)
            self.pipeline.vae.enable_slicing()  # large pictures, decoded in float32, do not fit together
        else:  # a fifth faster than fused attention at the few tokens of small pictures (measured)
            self.pipeline.unet.set_attn_processor(AttnProcessor())
        if machine.compile:
            compile_blocks(self.pipeline.unet)
        self.noise = dict(self.pipeline.scheduler.config)
        self.models = {name: getattr(self.pipeline, name) for name in (UNET, TEXT_ENCODER, TEXT_ENCODER_2)}
        self.blend = Blend(self.models)
        self.file: tuple[LoraKey, list[Layer]] | None = None
        self.current: tuple[LoraKey, float] | None = None
        self.prompts: dict[tuple[str, str], dict[str, torch.Tensor]] = {}

    def use(self, lora: LoraKey | None, strength: float) -> None:
        """Put ``lora`` into the weights, or take out the one that is there.

        Raises:
            UserError: when the file does not fit this base.
        """
        wanted = None if lora is None else (lora, strength)
        if wanted == self.current:
            return
        if lora is not None and (self.file is None or self.file[0] != lora):
            self.file = (lora, read_layers(lora.path, self.models))
        layers = self.file[1] if lora is not None and self.file is not None else []
        if any(component != UNET for component, _ in self.blend.kept) or touches_text(layers):
            self.prompts.clear()
        self.blend.set(layers, strength)
        self.current = wanted

    @torch.no_grad()
    def embed(self, prompt: str, negative: str) -> dict[str, torch.Tensor]:
        """The pipeline's four embedding arguments for one prompt, each (1, ...), remembered.

        Without a negative prompt the base's own habit counts: zeros with SDXL 1.0, the empty prompt elsewhere.
        """
        if (prompt, negative) not in self.prompts:
            names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
            device = self.pipeline._execution_device
            values = self.pipeline.encode_prompt(prompt, negative_prompt=negative or None, device=device)
            self.prompts[prompt, negative] = dict(zip(names, values, strict=True))
        return self.prompts[prompt, negative]

    def draw(self, group: Group, requests: Sequence[ImageRequest]) -> np.ndarray:
        """One picture per request: uint8 (B, H, W, 3) RGB.

        Raises:
            UserError: when the LoRA does not fit, or the base draws what is not a number.
        """
        self.use(group.lora, group.strength)
        pipeline = self.pipeline
        embedded = [self.embed(request.prompt, request.negative_prompt) for request in requests]
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        height, width = (side // pipeline.vae_scale_factor for side in (group.height, group.width))
        shape = (pipeline.unet.config.in_channels, height, width)
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        pipeline.scheduler = open_sampler(group.sampler, self.noise)
        self._decode_in(group.vae_tile)
        arguments: dict[str, Any] = {name: torch.cat([e[name] for e in embedded]) for name in embedded[0]}
        pictures = pipeline(
            **arguments, latents=noise.to(pipeline.unet.dtype), generator=generators, height=group.height,
            width=group.width, num_inference_steps=group.steps, guidance_scale=group.guidance, output_type="np",
        ).images  # fmt: skip
        if not np.isfinite(pictures).all():
            raise UserError(group.base, f"drew a picture that is not finite ({group.sampler})", "try another sampler")
        return (pictures * 255).round().astype(np.uint8)

    def _decode_in(self, tile: int | None) -> None:
        """Decode pictures whole, or in tiles of ``tile`` px."""
        vae = self.pipeline.vae
        vae.use_tiling = tile is not None
        if tile is not None:
            vae.tile_sample_min_size, vae.tile_latent_min_size = tile, tile // self.pipeline.vae_scale_factor


class DiffusersGenerator:
    """See contracts.generation.Generator."""

    modes = frozenset({"lora"})
    samplers = SAMPLERS
    identity = ""

    def __init__(self, machine: Machine, micro_batch: int) -> None:
        self.machine, self.micro_batch = machine, micro_batch
        self.opened: tuple[Path, Base] | None = None

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        """Check every request, then draw them as they are asked for.

        Raises:
            UserError: for a base or LoRA that is missing, or a mode, sampler or size that cannot be drawn.
        """
        self._check(requests)
        hashes = {path: hash_unchanged(path) for path in {request.lora for request in requests} if path is not None}
        return self._drawn(requests, [_group(request, hashes) for request in requests])

    def _check(self, requests: Sequence[ImageRequest]) -> None:
        for request in requests:
            if request.mode not in self.modes:
                raise UserError("mode", f"{request.mode!r} cannot be drawn by diffusers here", "use mode lora")
            if request.sampler not in self.samplers:
                raise UserError("sampler", f"no sampler {request.sampler!r}", f"known: {', '.join(sorted(SAMPLERS))}")
            if request.width % 8 or request.height % 8:
                raise UserError("resolution", f"{request.width}x{request.height} is no multiple of 8")
            if request.lora is not None and not request.lora.is_file():
                raise UserError(request.lora, "no such LoRA file", "run `dvc repro train`")
        for base in {request.base for request in requests}:
            check_base(base)

    def _drawn(self, requests: Sequence[ImageRequest], groups: Sequence[Group]) -> Iterator[np.ndarray]:
        """Draw a group's next requests when the first of them is due; keep the others until theirs."""
        waiting: dict[Group, deque[int]] = defaultdict(deque)
        for number, group in enumerate(groups):
            waiting[group].append(number)
        ready: dict[int, np.ndarray] = {}
        for number, group in enumerate(groups):
            if number not in ready:
                line = waiting[group]
                together = [line.popleft() for _ in range(min(self.micro_batch, len(line)))]
                padded = together + together[-1:] * (self.micro_batch - len(together))
                pictures = self.open_base(group.base).draw(group, [requests[n] for n in padded])
                ready.update(zip(together, pictures, strict=False))
            yield ready.pop(number)

    def open_base(self, folder: Path) -> Base:
        """The base model in ``folder``, loaded; the one that was there before goes."""
        torch.set_num_threads(self.machine.threads)
        if self.opened is None or self.opened[0] != folder:
            self.opened = None  # one base at a time: two may not fit
            self.opened = (folder, Base(folder, self.machine))
        return self.opened[1]


def _group(request: ImageRequest, hashes: dict[Path, str]) -> Group:
    """A LoRA at strength 0 is no LoRA."""
    lora = None if request.lora is None or request.strength == 0 else LoraKey(request.lora, hashes[request.lora])
    return Group(
        request.base, lora, request.strength if lora else 0.0, request.sampler, request.steps, request.guidance,
        request.width, request.height, request.vae_tile,
    )  # fmt: skip
