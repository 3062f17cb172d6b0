"""The base with a LoRA in it: a batch in, each sample's loss out."""

import gc
import os
from importlib.util import find_spec

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from peft.tuners.tuners_utils import BaseTunerLayer

from stages.backends.train.adapters import add_lora, export_lora
from stages.backends.train.batches import Batch
from stages.backends.train.data import Prompts
from stages.backends.train.loss import distances, huber_c, sample_losses, snr_weight
from stages.backends.train.noise import open_schedule
from stages.backends.train.transfer import send
from stages.contracts.lora_metadata import PRECISIONS
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.train_settings import Train
from stages.runtime.errors import UserError


def open_accelerator(precision: str, device: str) -> Accelerator:
    """accelerate on the machine's device, with the precision of the settings.

    Raises:
        UserError: for float16 without CUDA.
    """
    if precision == "float16" and not device.startswith("cuda"):
        raise UserError("train.precision", f"float16 needs CUDA, and machine.device is {device!r}", "use bfloat16")
    os.environ["ACCELERATE_TORCH_DEVICE"] = device
    # accelerate keeps one state per process and refuses a second precision; a process may train twice.
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=PRECISIONS[precision], cpu=device == "cpu")


def lower_precision(model: torch.nn.Module, precision: str) -> None:
    """Store frozen matrices and kernels as autocast would read them anyway; norms and the LoRA stay float32."""
    dtype = getattr(torch, precision)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)


def leave_to_autocast(model: torch.nn.Module) -> None:
    """Keep peft from widening an adapter's input to float32: autocast would narrow it again, to the same numbers."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False  # type: ignore[assignment]


def _arrange_for(device: torch.device, unet: UNet2DConditionModel) -> None:
    """The layout and attention that train fastest: on CUDA xformers' where installed, else PyTorch's fused one."""
    if device.type == "cpu":  # fused attention and channels-last group norm: a backward pass 60% dearer (measured)
        unet.set_attn_processor(AttnProcessor())
        return
    unet.to(memory_format=torch.channels_last)
    if find_spec("xformers"):
        unet.enable_xformers_memory_efficient_attention()


class LoraModel:
    """UNet and text encoders with a fresh LoRA; ``parameters`` are the LoRA's, by component."""

    def __init__(self, pipeline: StableDiffusionXLPipeline, train: Train, accelerator: Accelerator) -> None:
        """Take over ``pipeline``, whose autoencoder is no longer needed."""
        self.train, self.accelerator = train, accelerator
        self.schedule = open_schedule(pipeline.scheduler.config)
        self.prompts = Prompts(pipeline, accelerator.device)
        trained = (UNET, TEXT_ENCODER, TEXT_ENCODER_2) if train.text_encoders else (UNET,)
        self.models: dict[str, torch.nn.Module] = {name: getattr(pipeline, name) for name in trained}
        for name in (TEXT_ENCODER, TEXT_ENCODER_2):
            getattr(pipeline, name).requires_grad_(False).to(accelerator.device)
        self.parameters = {name: add_lora(name, model, train) for name, model in self.models.items()}
        for model in self.models.values():
            lower_precision(model, train.precision)
            leave_to_autocast(model)
            model.train()
        if train.gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        _arrange_for(accelerator.device, pipeline.unet)
        self.unet = pipeline.unet.to(accelerator.device)

    def remember_prompts(self, captions: list[str]) -> None:
        """With ``cache_text``: encode every caption once and let go of the text encoders."""
        if not self.train.cache_text:
            return
        self.prompts.remember(captions)
        pipeline = self.prompts.pipeline
        pipeline.text_encoder = pipeline.text_encoder_2 = None
        gc.collect()

    def losses(self, batch: Batch) -> torch.Tensor:
        """The weighted loss of each sample, float32 (B,), in training precision."""
        device, kind = self.accelerator.device, self.schedule.prediction
        latents, noise = send(batch.latents, device), send(batch.noise, device)
        noised = self.schedule.add_noise(latents, noise, batch.timesteps)
        with self.accelerator.autocast():
            context, pooled = self.prompts.encode(batch.captions)
            added = {"text_embeds": pooled, "time_ids": send(batch.time_ids, device)}
            predicted = self.unet(noised, send(batch.timesteps, device), context, added_cond_kwargs=added).sample
        loss, target = self.train.loss, self.schedule.target(latents, noise, batch.timesteps)
        c = huber_c(loss, batch.timesteps, self.schedule.length) if loss.kind == "huber" else None
        weight = snr_weight(self.schedule.snr(batch.timesteps), loss, kind)
        return sample_losses(distances(predicted, target, c), weight, batch.mask)

    def export(self, dtype: torch.dtype = torch.float16) -> dict[str, np.ndarray]:
        """The tensors of a LoRA file."""
        return export_lora(self.models, dtype)
