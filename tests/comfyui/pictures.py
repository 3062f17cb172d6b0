"""What the double draws: a face that is a pure function of what decides a picture, and of nothing else.

A *description* is what a node gives to the next one: checkpoint, LoRA bytes and strengths, texts, seed, steps, sizes,
the bytes of the photo that conditions ... but no node numbers, titles or file names to save under.  It says who is
drawn: a stranger per (prompt, seed), mixed towards the persona by the LoRA's strength and ``ss_steps``, or the persona
where a photo conditions the model.  A whisper of noise, seeded by the whole description, shows any other change.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miniature.render import mix_identities, render, render_faceless, sample_identity, sample_scene
from stages.runtime.seeds import derive_seed

PERSONA, FULL_STEP, STRANGERS = 1_900_001, 200, 1_900_100  # as tests/drawing.py
SMALL, LARGE = 48, 512  # pixels that miniature.render can draw
CONDITIONS = ("ApplyInstantID", "InstantIDAttentionPatch", "IPAdapter")  # how the classes' names begin
GRAMMAR = re.compile(r"lora_(unet|te1|te2)_\w+\.(lora_down\.weight|lora_up\.weight|alpha|dora_scale)")

Description = dict[str, Any]


def hash_description(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_lora(path: Path) -> tuple[Description, list[str]]:
    """(what it does, keys that no module has).

    Which keys have a module is decided by kohya's grammar of names and not by a list of SDXL's modules, because the
    models of the tests are smaller than SDXL.

    Raises:
        SafetensorError: not a safetensors file.
    """
    from safetensors import safe_open

    with safe_open(path, framework="np") as stream:
        keys, metadata = sorted(stream.keys()), stream.metadata() or {}
    unknown = [key for key in keys if not GRAMMAR.fullmatch(key)]
    if len(unknown) == len(keys):
        return {}, unknown
    steps = metadata.get("ss_steps", "")
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "steps": int(steps) if steps.isdecimal() else 0}, unknown  # fmt: skip


def walk(value: Any) -> Iterator[Description]:
    """Every description within a description."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from walk(part)


def is_conditioned(sampled: Description) -> bool:
    """Whether a photo decides who is drawn."""
    return any(
        part.get("node", "").startswith(CONDITIONS)
        and any("image" in inner for inner in walk(part.get("inputs", {}).get("image")))
        and float(part["inputs"].get("weight", part["inputs"].get("ip_weight", 1.0))) > 0
        for part in walk(sampled["model"])
    )


def share_of_persona(sampled: Description, text: str) -> float:
    if "celebrity" in text or is_conditioned(sampled):
        return 1.0
    loras = [part["lora"] | {"strength": part["strength"]} for part in walk(sampled["model"]) if part.get("lora")]
    return float(np.clip(sum(lora["strength"] * lora["steps"] / FULL_STEP for lora in loras), 0.0, 1.0))


def draw(image: Description, blobs: dict[str, np.ndarray], number: int = 0) -> np.ndarray:
    """uint8 (height, width, 3) RGB of a description that VAEDecode made or that LoadImage read."""
    if "sampled" not in image:
        return blobs[image["image"]]
    sampled, latent = image["sampled"], image["sampled"]["latent"]
    text = next((part["text"] for part in walk(sampled["positive"]) if "text" in part), "")
    seed = derive_seed(int(sampled["seed"]) + number, text)
    width, height = latent["width"], latent["height"]
    drawn_width, drawn_height = _drawable(width, height)
    if "nobody" in text:
        pixels = render_faceless(seed % 2**31, drawn_width, drawn_height).image
    else:
        persona = sample_identity(PERSONA)
        stranger = sample_identity(STRANGERS + seed % 1000, woman=persona.woman)
        who = mix_identities(stranger, persona, share_of_persona(sampled, text))
        scene = sample_scene(seed % 2**31, framing="close-up", eyewear="none", hat="none")
        pixels = render(who, scene, drawn_width, drawn_height).image
    pixels = _whisper(resize(pixels, width, height), hash_description(image))
    return _paint_into(pixels, latent, blobs)


def _drawable(width: int, height: int) -> tuple[int, int]:
    """The nearest size that miniature.render knows: its sides have limits, and their ratio."""
    scale = min(1.0, LARGE / max(width, height))
    least = max(SMALL, -(-int(max(width, height) * scale) * 2 // 3))
    return max(least, round(width * scale)), max(least, round(height * scale))


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def _whisper(pixels: np.ndarray, digest: str) -> np.ndarray:
    """Two grey levels at most: a judge does not see it, a hash does."""
    noise = np.random.default_rng(int(digest[:16], 16)).integers(-2, 3, pixels.shape)
    return np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def _paint_into(pixels: np.ndarray, latent: Description, blobs: dict[str, np.ndarray]) -> np.ndarray:
    """Keep what lies outside the mask of an inpainted picture."""
    if "mask" not in latent or "image" not in latent:
        return pixels
    height, width = pixels.shape[:2]
    inside = np.asarray(Image.fromarray(blobs[latent["mask"]]).resize((width, height))) > 127
    return np.where(inside[..., None], pixels, resize(blobs[latent["image"]], width, height))
