"""An SDXL pipeline's tensors under the names of one file in Stability AI's (SAI) layout, which ComfyUI loads."""

import re
from collections.abc import Iterable, Iterator, Mapping

import torch

from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET, sai_names

Tensors = Mapping[str, torch.Tensor]
Named = Iterator[tuple[str, torch.Tensor]]

_VAE_PARTS = (  # diffusers -> SAI, in this order
    (re.compile(r"mid_block\.resnets\.(\d)"), lambda m: f"mid.block_{int(m[1]) + 1}"),
    (re.compile(r"mid_block\.attentions\.0"), lambda m: "mid.attn_1"),
    (re.compile(r"down_blocks\.(\d)\.resnets\.(\d)"), lambda m: f"down.{m[1]}.block.{m[2]}"),
    (re.compile(r"down_blocks\.(\d)\.downsamplers\.0"), lambda m: f"down.{m[1]}.downsample"),
    (re.compile(r"up_blocks\.(\d)\.resnets\.(\d)"), lambda m: f"up.{3 - int(m[1])}.block.{m[2]}"),  # counted upwards
    (re.compile(r"up_blocks\.(\d)\.upsamplers\.0"), lambda m: f"up.{3 - int(m[1])}.upsample"),
    (re.compile(r"conv_shortcut"), lambda m: "nin_shortcut"),
    (re.compile(r"conv_norm_out"), lambda m: "norm_out"),
)
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip
_OPEN_CLIP_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def _unet(tensors: Tensors) -> Named:
    names = sai_names(_modules(tensors))
    for key, value in tensors.items():
        module, _, kind = key.rpartition(".")
        yield f"model.diffusion_model.{names[module]}.{kind}", value


def _modules(keys: Iterable[str]) -> list[str]:
    return sorted({key.rpartition(".")[0] for key in keys})


def _vae(tensors: Tensors) -> Named:
    for key, value in tensors.items():
        name, in_attention = key, ".attentions." in key
        for pattern, words in _VAE_PARTS:
            name = pattern.sub(words, name)
        if in_attention:
            head, part, kind = re.fullmatch(r"(.*attn_1)\.(.+)\.(weight|bias)", name).groups()  # type: ignore[union-attr]
            name = f"{head}.{_VAE_ATTENTION[part]}.{kind}"
            if kind == "weight" and value.ndim == 2:  # there a convolution of one pixel
                value = value[:, :, None, None]
        yield f"first_stage_model.{name}", value


def _clip(tensors: Tensors) -> Named:
    for key, value in tensors.items():
        yield f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}", value


def _open_clip(tensors: Tensors) -> Named:
    """OpenCLIP keeps q, k and v in one matrix and its projection the other way round."""
    start = "conditioner.embedders.1.model"
    tensors = {key.removeprefix("text_model."): value for key, value in tensors.items()}
    for key, value in tensors.items():
        layer = _LAYER.fullmatch(key)
        if key == "text_projection.weight":
            yield f"{start}.text_projection", value.T
        elif layer is None:
            yield f"{start}.{_OPEN_CLIP_ENDS[key]}", value
        elif layer[2] == "self_attn.q_proj":
            joined = torch.cat([tensors[key.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            yield f"{start}.transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}", joined
        elif layer[2] not in ("self_attn.k_proj", "self_attn.v_proj"):
            yield f"{start}.transformer.resblocks.{layer[1]}.{_OPEN_CLIP[layer[2]]}.{layer[3]}", value


_TABLES = {UNET: _unet, "vae": _vae, TEXT_ENCODER: _clip, TEXT_ENCODER_2: _open_clip}


def name_as_sai(component: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors of one component (unet, vae, text_encoder, text_encoder_2) of diffusers' SDXL by their SAI names.

    Raises:
        KeyError: for a tensor that SDXL does not have.
    """
    return dict(_TABLES[component](tensors))
