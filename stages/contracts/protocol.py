"""The protocol of judging: what a figure depends on except LoRA, base model and chosen settings."""

from stages.contracts.comfyui_settings import PLAIN
from stages.contracts.manifest import Manifest
from stages.contracts.settings import ComfyUI, Dataset, Eval, Judges
from stages.contracts.workflows import read_workflow
from stages.runtime.provenance import hash_json, hash_path


def fill(prompt: str, dataset: Dataset) -> str:
    """The prompt that is drawn: {trigger} and {class_word} filled in."""
    return prompt.replace("{trigger}", dataset.trigger).replace("{class_word}", dataset.class_word)


def protocol_hash(settings: Eval, comfyui: ComfyUI, dataset: Dataset, judges: Judges, manifest: Manifest) -> str:
    """sha256 of how pictures are drawn and measured; figures under two hashes are never compared.

    In it: who draws (with ComfyUI: the graph of the base model), prompts, seeds, steps, resolution, tiles, negative
    prompt, the base model's guidance and sampler, the judges' bytes, the photos on either side of the split (references
    and ruler), the ruler's poses, the bootstrap.  Not in it: what a version may differ in (base model, LoRA, chosen
    settings), thresholds, licences and notes, and what cannot change a number.
    """
    return hash_json(
        {
            "prompts": [fill(prompt, dataset) for prompt in settings.prompts],
            "seeds": list(settings.seeds),
            "steps": settings.steps,
            "resolution": settings.resolution,
            "negative_prompt": settings.negative_prompt,
            "base_guidance": settings.base_guidance,
            "base_sampler": settings.base_sampler,
            "drawn_by": _drawn_by(settings, comfyui),
            "bootstrap": [settings.bootstrap, settings.seed],
            "faces": [hash_path(judges.faces.path), judges.faces.detection_size],
            "poses": [judges.faces.pose.model_dump(mode="json"), settings.pose_photos],
            "second": hash_path(judges.second.path),
            "text_image": hash_path(judges.text_image.path),
            "holdout": sorted(photo.sha256 for photo in manifest.side("holdout")),
            "train": sorted(photo.sha256 for photo in manifest.side("train")),
        }
    )


def _drawn_by(settings: Eval, comfyui: ComfyUI) -> list[object]:
    plain = read_workflow(comfyui.workflows[PLAIN]).sha256 if settings.backend == "comfyui" else None
    return [settings.backend, plain, settings.vae_tile]
