"""Pictures with records, and what happens to them on their way through the web."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from publish.passport.stamping import Issuer, hash_pixels, stamp_picture
from stages.contracts.production import Origin, PictureRecord, Scores, write_record
from stages.runtime.pictures import read_picture, write_png

SECRETS = (b"amira", b"smiling", b"987654321", b"IMG_0001")  # person, prompt, seed and photo of ``make_record``


def make_record(path: Path, **changes: Any) -> PictureRecord:
    """The record of a picture file; fields of the record or of its origin changed."""
    pixels = read_picture(path)
    origin = {
        "batch": "0123456789ab", "prompt": "{trigger}, smiling", "text": "amira, smiling", "negative_prompt": "",
        "seed": 987654321, "version": "v3", "lora": "models/lora/amira.safetensors", "lora_sha256": "ab" * 32,
        "base": "miniature/weights/base", "base_sha256": "cd" * 32, "strength": 1.0, "mode": "lora", "guidance": 3.0,
        "sampler": "ddim", "steps": 8, "width": pixels.shape[1], "height": pixels.shape[0],
        "manifest_sha256": "ef" * 32, "subject_sha256": "12" * 32, "backend": "diffusers",
    }  # fmt: skip
    scores = Scores(
        faces=1, similarity=0.8, second_similarity=0.8, realism=0.7, adherence=0.3, sharpness=1.0,
        nearest_photo="IMG_0001.jpg",
    )  # fmt: skip
    own = {name: changes.pop(name) for name in list(changes) if name in Origin.model_fields}
    fields = {
        "file": path.name, "pixels_sha256": hash_pixels(pixels), "origin": Origin(**origin | own), "scores": scores,
        "approved": True,
    }  # fmt: skip
    return PictureRecord(**fields | changes)


def publish(folder: Path, pictures: list[np.ndarray], issuer: Issuer, **changes: Any) -> list[Path]:
    """Write, record and stamp pictures in ``folder``/approved."""
    paths = []
    for number, pixels in enumerate(pictures):
        path = folder / "approved" / f"{number:04d}.png"
        write_png(path, pixels)
        record = make_record(path, **changes)
        write_record(path, record)
        stamp_picture(path, record, issuer)
        paths.append(path)
    return paths


def copy_badly(
    pixels_HWC: np.ndarray, generator: np.random.Generator, *, quality: int = 60, size: float = 0.5,
    kept: float = 0.95, mirrored: bool = False, gain: float = 1.0, offset: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """What is left after somebody cropped, resized and encoded it: ``kept`` is the share of each side."""
    height, width = pixels_HWC.shape[:2]
    tall, wide = round(height * kept), round(width * kept)
    top, left = generator.integers(0, height - tall + 1), generator.integers(0, width - wide + 1)
    cut = pixels_HWC[top : top + tall, left : left + wide]
    cut = np.clip((cut[:, ::-1] if mirrored else cut) * gain + offset, 0, 255).astype(np.uint8)
    small = Image.fromarray(np.ascontiguousarray(cut)).resize(
        (max(1, round(wide * size)), max(1, round(tall * size))), Image.Resampling.LANCZOS
    )
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def run_publish(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of `python -m publish WORDS`, run in this process."""
    from publish.__main__ import main

    monkeypatch.setattr("sys.argv", ["publish", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
