"""Pictures with records, and the programs that give them passports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from publish.passport.stamping import Issuer, stamp_picture
from stages.contracts.production import Origin, PictureRecord, Scores, write_record
from stages.runtime.pictures import hash_pixels, read_picture, write_png

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


def run_publish(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of `python -m publish WORDS`, run in this process."""
    from publish.__main__ import main

    monkeypatch.setattr("sys.argv", ["publish", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
