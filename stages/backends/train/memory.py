"""How much device memory a training needs, counted before it starts on a model that has shapes but no values."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from stages.backends.train.adapters import add_lora
from stages.contracts.lora_names import UNET
from stages.contracts.settings import Machine
from stages.contracts.train_settings import Train
from stages.runtime.errors import UserError

CONTEXT = 800 * 2**20  # CUDA's own, with cuBLAS and cuDNN workspaces; not measured here
STATES = {"prodigy": 16, "adamw": 8, "adamw8bit": 2}  # bytes of optimizer state per trained value
VAE_FACTOR = 8


class Saved:
    """Counts what autograd keeps for the backward pass, each storage once, without the weights."""

    def __init__(self, weights: torch.nn.Module) -> None:
        self.seen = {id_of(p): p for p in (*weights.parameters(), *weights.buffers())}
        self.bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count ``tensor`` unless its memory was counted."""
        if id_of(tensor) not in self.seen:
            self.seen[id_of(tensor)] = tensor  # kept, so that no other tensor gets its number
            self.bytes += tensor.untyped_storage().nbytes()
        return tensor

    def watching(self) -> torch.autograd.graph.saved_tensors_hooks:
        """A context in which everything that autograd saves is counted."""
        return torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor)


def id_of(tensor: torch.Tensor) -> int:
    """The number of a tensor's memory."""
    return int(tensor.untyped_storage()._cdata)


class _Attention(torch.autograd.Function):
    """Fused attention as far as memory goes: it saves query, key, value and result, not the matrix between them."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result


@contextlib.contextmanager
def _fused_attention() -> Iterator[None]:
    usual = torch.nn.functional.scaled_dot_product_attention
    torch.nn.functional.scaled_dot_product_attention = lambda q, k, v, **_: _Attention.apply(q, k, v)
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = usual


def _open_unet(train: Train, dtype: torch.dtype) -> UNet2DConditionModel:
    """The base's UNet with the LoRA, all shape and no values."""
    config = UNet2DConditionModel.load_config(train.base / "unet", local_files_only=True)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
        add_lora(UNET, unet, train)
    for parameter in unet.parameters():
        parameter.data = parameter.data.to(dtype)
    return unet.train()


def count_activations(unet: UNet2DConditionModel, batch: int, resolution: int, *, checkpointing: bool) -> int:
    """Bytes that a forward pass of ``batch`` pictures keeps for the backward pass, with fused attention.

    With gradient checkpointing: the inputs of all blocks, and the largest block recomputed.
    """
    outside, largest = Saved(unet), 0

    def block(function: Callable[..., Any], *inputs: Any) -> Any:
        nonlocal largest
        inside = Saved(unet)
        with inside.watching():
            result = function(*inputs)
        largest = max(largest, inside.bytes)
        for tensor in inputs:
            if isinstance(tensor, torch.Tensor):
                outside.pack(tensor)
        return result

    if checkpointing:
        unet.enable_gradient_checkpointing(block)
    config, dtype, side = unet.config, unet.dtype, resolution // VAE_FACTOR
    with torch.device("meta"), _fused_attention(), outside.watching():
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        unet(
            torch.empty(batch, config.in_channels, side, side, dtype=dtype), torch.empty(batch, dtype=torch.long),
            torch.empty(batch, 77, config.cross_attention_dim, dtype=dtype),
            added_cond_kwargs={
                "text_embeds": torch.empty(batch, pooled, dtype=dtype), "time_ids": torch.empty(batch, 6, dtype=dtype)
            },
        )  # fmt: skip
    return outside.bytes + largest


def estimate_memory(train: Train) -> dict[str, int]:
    """Bytes on the device while training, by what holds them; what the text encoders need is not in it.

    Raises:
        UserError: when the base's UNet has no configuration.
    """
    dtype = getattr(torch, train.precision)
    try:
        unet = _open_unet(train, dtype)
    except OSError as error:
        raise UserError(train.base / "unet", f"no UNet ({error})", "fetch the base model again") from None
    trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for p in unet.parameters() if not p.requires_grad)
    batch = train.batch + (train.prior_batch if train.prior_weight else 0)
    return {
        f"UNet, {train.precision}": frozen,
        f"LoRA of rank {train.rank}, float32": trained * 4,
        "its gradients, float32": trained * 4,
        f"{train.optimizer.name} states": trained * STATES[train.optimizer.name],
        "moving average": trained * 4 if train.ema else 0,
        f"activations of {batch} pictures of {train.resolution} px": count_activations(
            unet, batch, train.resolution, checkpointing=train.gradient_checkpointing
        ),
        "CUDA itself, about": CONTEXT,
    }


def check_memory(train: Train, machine: Machine) -> None:
    """On a GPU: say what the training will need, and refuse one that cannot fit.

    Raises:
        UserError: when the device has less memory than the count.
    """
    if not machine.device.startswith("cuda"):
        return
    parts = estimate_memory(train)
    needed, there = sum(parts.values()), torch.cuda.get_device_properties(machine.device).total_memory
    terms = " + ".join(f"{size / 2**30:.2f} ({name})" for name, size in parts.items() if size)
    print(f"train: memory: {terms} = {needed / 2**30:.1f} of {there / 2**30:.1f} GiB", file=sys.stderr)
    if needed > there:
        todo = "lower train.batch, or set train.gradient_checkpointing to true"
        raise UserError(machine.device, f"{there / 2**30:.1f} GiB do not hold {needed / 2**30:.1f} GiB", todo)
