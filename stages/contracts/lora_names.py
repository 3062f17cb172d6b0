"""What a LoRA file calls the modules of SDXL: kohya's names on Stability AI's (SAI) module paths.

ComfyUI and kohya sd-scripts both load this form whole; a name that they do not know they pass over in silence, so every
name is made here, from the modules that a model really has, and checked to be unique.

    down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q   (diffusers)
    input_blocks.4.1.transformer_blocks.0.attn1.to_q             (SAI)
    lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q   (kohya)
"""

import re
from collections.abc import Iterable

UNET, TEXT_ENCODER, TEXT_ENCODER_2 = "unet", "text_encoder", "text_encoder_2"
PREFIXES = {UNET: "lora_unet", TEXT_ENCODER: "lora_te1", TEXT_ENCODER_2: "lora_te2"}

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ENDS = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_PART = re.compile(
    r"(?P<side>down|mid|up)_blocks?\.(?:(?P<block>\d+)\.)?"
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<index>\d+)\.(?P<rest>.+)"
)


def _blocks(modules: Iterable[str], side: str) -> dict[int, dict[str, int]]:
    """Per block of one side: how many resnets, attentions and samplers it holds."""
    found: dict[int, dict[str, int]] = {}
    for match in filter(None, map(_PART.fullmatch, modules)):
        if match["side"] == side:
            kinds = found.setdefault(int(match["block"] or 0), {})
            kinds[match["kind"]] = max(kinds.get(match["kind"], 0), int(match["index"]) + 1)
    return found


def _starts(blocks: dict[int, dict[str, int]], first: int, *, own_slot: bool) -> dict[int, int]:
    """The SAI number of each block's first resnet; a downsampler takes a number of its own, an upsampler does not."""
    starts = {}
    for block in sorted(blocks):
        starts[block] = first
        sampler = 1 if own_slot and "downsamplers" in blocks[block] else 0
        first += blocks[block].get("resnets", 0) + sampler
    return starts


def sai_names(modules: Iterable[str]) -> dict[str, str]:
    """SAI's path of each of a UNet's modules that has one, by diffusers' path.

    ``modules`` are all module paths of one ``UNet2DConditionModel``: how the blocks are numbered follows from them, so
    a UNet of any depth is named as Stability AI's code would name it.
    """
    modules = list(modules)
    down, up = _blocks(modules, "down"), _blocks(modules, "up")
    inputs, outputs = _starts(down, 1, own_slot=True), _starts(up, 0, own_slot=False)
    names = {module: _ENDS[module] for module in modules if module in _ENDS}
    for module, match in ((m, _PART.fullmatch(m)) for m in modules):
        if match is None:
            continue
        block, index, rest = int(match["block"] or 0), int(match["index"]), match["rest"]
        is_resnet = match["kind"] == "resnets"
        if is_resnet:
            head, _, tail = rest.partition(".")
            rest = ".".join(filter(None, [_RESNET.get(head, head), tail]))
        match match["side"], match["kind"]:
            case "mid", kind:
                names[module] = f"middle_block.{2 * index if kind == 'resnets' else 1 + 2 * index}.{rest}"
            case "down", "downsamplers":
                names[module] = f"input_blocks.{inputs[block] + down[block]['resnets']}.0.{rest.replace('conv', 'op')}"
            case "down", _:
                names[module] = f"input_blocks.{inputs[block] + index}.{0 if is_resnet else 1}.{rest}"
            case _, "upsamplers":
                last, slot = outputs[block] + up[block]["resnets"] - 1, 2 if "attentions" in up[block] else 1
                names[module] = f"output_blocks.{last}.{slot}.{rest}"
            case _:
                names[module] = f"output_blocks.{outputs[block] + index}.{0 if is_resnet else 1}.{rest}"
    return names


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}_{path.replace('.', '_')}"


def kohya_names(component: str, modules: Iterable[str]) -> dict[str, str]:
    """The name in a LoRA file of each module of one component (``unet``, ``text_encoder``, ``text_encoder_2``).

    Raises:
        ValueError: when two modules would share a name.
    """
    prefix = PREFIXES[component]
    if component == UNET:
        names = {module: _joined(prefix, path) for module, path in sai_names(modules).items()}
    else:  # transformers 5 dropped the text_model. of CLIPTextModel and kept it in CLIPTextModelWithProjection
        names = {
            module: _joined(prefix, module if module.startswith("text_") else f"text_model.{module}")
            for module in modules
            if module and module != "text_model"
        }
    if len(set(names.values())) != len(names):
        raise ValueError(f"{component}: two modules share a name")
    return names


def module_table(component: str, modules: Iterable[str]) -> dict[str, str]:
    """The way back: the module that each accepted name means; diffusers' own paths after ``lora_unet_`` count too."""
    modules = [module for module in modules if module]
    table = {name: module for module, name in kohya_names(component, modules).items()}
    return {_joined(PREFIXES[component], module): module for module in modules} | table
