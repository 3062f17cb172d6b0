"""What each node gives to the next one: descriptions instead of tensors."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from comfyui.folders import Folders
from comfyui.pictures import Description, draw, hash_description, read_lora, resize
from PIL import Image
from PIL.PngImagePlugin import PngInfo

COMPRESSION = 4


class Studio:
    """The models and pictures that a server holds in memory, and its output folder."""

    def __init__(self, folders: Folders, log: Callable[[str], None], count: Callable[[], None]) -> None:
        self.folders, self.log, self._count = folders, log, count
        self.blobs: dict[str, np.ndarray] = {}
        self.loaded: dict[
            tuple[str, str], tuple[Path, tuple[Description, list[str]]]
        ] = {}  # by node, class: as ComfyUI

    def evaluate(self, number: str, kind: str, inputs: dict[str, Any], slots: int) -> list[Any]:
        """The outputs of a node that writes no file.

        Raises:
            FileNotFoundError, SafetensorError, UnidentifiedImageError: what the real node would stumble over.
        """
        match kind:
            case "CheckpointLoaderSimple":
                return [{"part": part, "checkpoint": inputs["ckpt_name"]} for part in ("model", "clip", "vae")]
            case "LoraLoader" | "LoraLoaderModelOnly":
                return self._apply_lora(number, kind, inputs)[:slots]
            case "CLIPTextEncode":
                return [{"text": inputs["text"], "clip": inputs["clip"]}]
            case "EmptyLatentImage":
                return [{"width": inputs["width"], "height": inputs["height"], "batch": inputs["batch_size"]}]
            case "LoadImage":
                return self._load_image(inputs["image"])
            case "LoadImageMask":
                return [self._load_mask(inputs["image"], inputs["channel"])]
            case "VAEEncode" | "VAEEncodeForInpaint":
                return [self._encode(inputs)]
            case "InpaintModelConditioning":
                return [inputs["positive"], inputs["negative"], self._encode(inputs)]
            case "CLIPTextEncodeSDXL":
                return [inputs | {"text": inputs["text_g"]}]
            case "ImageScale":
                return [self._scale(inputs)]
            case "SetLatentNoiseMask":
                return [inputs["samples"] | inputs["mask"]]
            case "KSampler" | "KSamplerAdvanced":
                return [_sample(inputs)]
            case "VAEDecode" | "VAEDecodeTiled":
                tiles = {name: value for name, value in inputs.items() if name not in ("samples", "vae")}
                return [inputs["samples"] | {"vae": inputs["vae"]} | ({"tiles": tiles} if tiles else {})]
            case _:
                decides = {name: value for name, value in inputs.items() if name != "provider"}
                return [{"node": kind, "slot": slot, "inputs": decides} for slot in range(slots)]

    def save(self, kind: str, inputs: dict[str, Any], text: dict[str, Any]) -> list[dict[str, str]]:
        """SaveImage, PreviewImage: the files' entries for the history.

        Raises:
            Exception: the prefix leads outside the output folder.
        """
        temporary = kind == "PreviewImage"
        root = self.folders.temp if temporary else self.folders.output
        prefix = Path("ComfyUI_temp_abcde" if temporary else inputs["filename_prefix"])
        folder = Path(root, prefix.parent).resolve()
        if not folder.is_relative_to(root.resolve()):
            raise Exception(
                "**** ERROR: Saving image outside the output folder is not allowed."
                f"\n full_output_folder: {folder}\n         output_dir: {root}\n         commonpath: {root.parent}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        entries, image = [], inputs["images"]
        batch = image.get("batch", 1)
        for index in range(batch):
            path = folder / f"{prefix.name}_{_next_number(folder, prefix.name):05}_.png"
            info = PngInfo()
            for key, value in text.items():
                info.add_text(key, json.dumps(value))
            Image.fromarray(draw(image, self.blobs, index)).save(path, pnginfo=info, compress_level=COMPRESSION)
            if not temporary:
                self._count()
            subfolder = "" if prefix.parent == Path() else prefix.parent.as_posix()
            entries.append({"filename": path.name, "subfolder": subfolder, "type": "temp" if temporary else "output"})
        return entries

    def forget_loras(self, present: set[tuple[str, str]]) -> None:
        """Nodes that are not in the new graph lose what they had loaded."""
        self.loaded = {key: value for key, value in self.loaded.items() if key in present}

    def is_changed(self, kind: str, inputs: dict[str, Any]) -> str:
        """What besides the inputs decides whether a node must run again: a picture's bytes, never a LoRA's."""
        if kind not in ("LoadImage", "LoadImageMask"):
            return ""
        path = self.folders.find_input(str(inputs.get("image")))
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    def _apply_lora(self, number: str, kind: str, inputs: dict[str, Any]) -> list[Any]:
        model, clip, name = inputs["model"], inputs.get("clip"), inputs["lora_name"]
        strengths = inputs["strength_model"], inputs.get("strength_clip", 0.0)
        if strengths == (0, 0):
            return [model, clip]
        path = self.folders.find("loras", name)
        if path is None:
            raise FileNotFoundError(f"Model in folder 'loras' with filename '{name}' not found.")
        held = self.loaded.get((number, kind))
        if held is None or held[0] != path:  # the trap: bytes that changed under the same path are not read again
            held = self.loaded[number, kind] = path, read_lora(path)
        lora, unknown = held[1]
        for key in unknown:
            self.log(f"lora key not loaded: {key}")
        return [
            {"base": part, "lora": lora, "strength": strength} if lora and strength and part is not None else part
            for part, strength in zip((model, clip), strengths, strict=True)
        ]

    def _load_image(self, name: str) -> list[Any]:
        with Image.open(self.folders.find_input(name)) as picture:
            rgba = picture.convert("RGBA") if "A" in picture.getbands() else None
            pixels = np.asarray(picture.convert("RGB"))
        alpha = np.zeros((64, 64), np.uint8) if rgba is None else 255 - np.asarray(rgba.getchannel("A"))
        return [self._keep("image", pixels), self._keep("mask", alpha)]

    def _load_mask(self, name: str, channel: str) -> Description:
        with Image.open(self.folders.find_input(name)) as picture:
            pixels = np.asarray(picture.convert("RGBA").getchannel(channel[0].upper()))
        kept = self._keep("mask", 255 - pixels if channel == "alpha" else pixels)
        return {"mask": kept["mask"]}

    def _keep(self, name: str, pixels: np.ndarray) -> Description:
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
        self.blobs[digest] = pixels
        if name == "mask":
            return {"mask": digest}
        return {"image": digest, "width": pixels.shape[1], "height": pixels.shape[0]}

    def _scale(self, inputs: dict[str, Any]) -> Description:
        image, width, height = inputs["image"], inputs["width"], inputs["height"]
        width = width or max(1, round(image["width"] * height / image["height"]))
        height = height or max(1, round(image["height"] * width / image["width"]))
        return self._keep("image", resize(draw(image, self.blobs), width, height))

    def _encode(self, inputs: dict[str, Any]) -> Description:
        pixels = inputs["pixels"]
        if "sampled" in pixels:
            pixels = self._keep("image", draw(pixels, self.blobs))
        width, height = (side - side % 8 for side in (pixels["width"], pixels["height"]))
        grow = {"grow_mask_by": inputs["grow_mask_by"]} if "grow_mask_by" in inputs else {}
        return {"width": width, "height": height, "batch": 1, "image": pixels["image"]} | inputs.get("mask", {}) | grow


def _sample(inputs: dict[str, Any]) -> Description:
    decides = {name: value for name, value in inputs.items() if name != "latent_image"}
    seed = decides.pop("noise_seed", None)
    latent = inputs["latent_image"]
    if "sampled" in latent:
        latent = latent | {"before": hash_description(latent)}
    sampled = decides | ({"seed": seed} if seed is not None else {}) | {"latent": latent}
    return {"width": latent["width"], "height": latent["height"], "batch": latent.get("batch", 1), "sampled": sampled}


def _next_number(folder: Path, name: str) -> int:
    """One more than the highest number in use."""
    numbers = [0]
    for path in folder.iterdir():
        if path.name.lower().startswith(f"{name}_".lower()):
            digits = path.name[len(name) + 1 :].split("_")[0]
            numbers.append(int(digits) if digits.isdecimal() else 0)
    return max(numbers) + 1
