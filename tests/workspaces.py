"""A workspace in which sweep and eval run: rendered photos of the persona, LoRA files, the miniature's judges."""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from drawing import PERSONA

from miniature.places import WEIGHTS
from miniature.render import render, sample_identity, sample_scene
from stages.contracts.lora import MANIFEST_KEY, final_path, step_path, write_lora
from stages.contracts.manifest import Manifest, Photo, Summary, write_manifest
from stages.contracts.regularization import ClassImage, write_index
from stages.contracts.training import Examples
from stages.runtime.pictures import write_png
from stages.runtime.provenance import hash_file

JUDGES = {
    "faces": {"path": "weights/faces/models/miniature", "licence": "test", "detection_size": 128},
    "second": {"path": "weights/judge", "licence": "test"},
    "text_image": {"path": "weights/clip", "licence": "test"},
}
DRAW = {
    "backend": "drawing:Drawing", "resolution": 64, "steps": 2, "micro_batch": 4,
    "prompts": ["{trigger}, a {class_word}, smiling", "{trigger}, a {class_word}, frowning, studio background"],
}  # fmt: skip
PARAMS: dict[str, Any] = {
    "dataset": {"name": "persona", "photos": "data/photos", "trigger": "amira", "class_word": "woman"},
    "sweep": DRAW | {"bases": ["base"], "guidance": [2.0, 3.0], "strengths": [0.5, 1.0], "seeds": [1, 2],
                      "confirm_seeds": [3, 4]},
    "eval": DRAW | {"seeds": [11, 12], "bootstrap": 200, "prompts": [*DRAW["prompts"], "{trigger}, a {class_word}"]},
    "batch": DRAW | {"count": 2, "seed": 3},
    "comfyui": {},
    "judges": JUDGES,
    "thresholds": {},
    "machine": {"threads": 1, "state_dir": "state"},
}  # fmt: skip
LORA_KEY = "lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight"
HAVE_JUDGES = all((WEIGHTS / part).exists() for part in ("faces/models/miniature/rec.onnx", "judge/judge.json", "clip"))


def make_workspace(folder: Path, photos: int = 20, holdout: int = 12, steps: tuple[int, ...] = (100, 200)) -> None:
    """Photos, manifest, LoRA files and params.yaml in ``folder``."""
    (folder / "base").mkdir()
    (folder / "base" / "model_index.json").write_text("{}")
    (folder / "base" / "scheduler").mkdir()
    (folder / "base" / "scheduler" / "scheduler_config.json").write_text('{"timestep_spacing": "trailing"}')
    (folder / "weights").symlink_to(WEIGHTS)
    persona = sample_identity(PERSONA)
    images = []
    for number in range(photos):
        path = folder / "data" / "photos" / f"{number:03d}.png"
        write_png(path, render(persona, sample_scene(number, eyewear="none", hat="none"), 96).image)
        images.append(_photo(path, "holdout" if number < holdout else "train"))
    summary = Summary(
        total_images=photos, total_captions=photos, unique_captions=1, caption_distribution={}, duplicates=[],
        mean_image_size_bytes=0.0, resolution_set=["96x96"], train_images=photos - holdout, holdout_images=holdout,
        warnings=[],
    )  # fmt: skip
    manifest = Manifest(
        name="persona", trigger="amira", class_word="woman", photos="data/photos", captions="data/captions",
        images=images, summary=summary,
    )  # fmt: skip
    write_manifest(manifest, folder / "data" / "manifest.json")
    for step in steps:
        last = step == steps[-1]
        path = (
            final_path("persona", folder / "models/lora")
            if last
            else step_path("persona", step, folder / "models/lora")
        )
        header = {"ss_steps": str(step), "ss_network_dim": "4", MANIFEST_KEY: hash_file(folder / "data/manifest.json")}
        write_lora(path, {LORA_KEY: np.full((1, 4), step, np.float32)}, header)
    write_class_images(folder / "data" / "regularization")
    write_card(folder, "persona")
    write_losses(folder, [0.06, 0.05, 0.04, 0.05])
    write_params(folder)


def write_card(folder: Path, name: str, /, **changes: Any) -> None:
    """The subject card of a synthetic persona, with keys of it changed."""
    card = {"kind": "synthetic", "name": "nobody", "dataset": name, "adult": True, "made_with": "drawn",
            "scope": ["non-commercial", "commercial"], "date": date(2026, 1, 31)}  # fmt: skip
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "subject.yaml").write_text(yaml.safe_dump(card | changes))


def write_losses(folder: Path, holdout: Sequence[float], every: int = 50) -> None:
    """metrics/loss.csv with the holdout loss of every ``every`` steps from 0 on."""
    (folder / "metrics").mkdir(exist_ok=True)
    rows = [f"{number * every},,,{loss},0.001," for number, loss in enumerate(holdout)]
    text = "\n".join(["step,loss,prior_loss,holdout_loss,learning_rate,d", *rows])
    (folder / "metrics" / "loss.csv").write_text(text + "\n")


def write_class_images(folder: Path, count: int = 6) -> None:
    """Strangers, for the judges' calibration."""
    for number in range(count):
        stranger = sample_identity(1_850_000 + number, woman=True)
        write_png(folder / f"{number:05d}.png", render(stranger, sample_scene(number), 64).image)
    made = sorted(folder.glob("*.png"))
    write_index(folder, [ClassImage(file=p.name, caption="a woman", sha256=hash_file(p)) for p in made])


def _photo(path: Path, split: Any, caption: str = "amira, a woman") -> Photo:
    return Photo(
        filename=path.name, sha256=hash_file(path), size_bytes=path.stat().st_size, width=96, height=96,
        caption_file=f"{path.stem}.txt", caption_text=caption, caption_sha256="", phash="0" * 16,
        group=int(path.stem) if path.stem.isdecimal() else 0, split=split,
    )  # fmt: skip


def write_params(folder: Path, **changes: Any) -> None:
    """params.yaml, with sections changed key by key: ``sweep={"seeds": [3]}``."""
    params = {name: section | changes.get(name, {}) for name, section in PARAMS.items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


TRAIN: dict[str, Any] = {
    "version": "t", "base": "base", "resolution": 64, "rank": 4, "steps": 4, "batch": 2, "prior_batch": 1,
    "checkpoint_every": 2, "holdout_every": 2,
    "samples": {
        "prompts": ["{trigger}, smiling", "a {class_word}"], "seeds": [3], "probe_seeds": [4], "steps": 2,
        "micro_batch": 2,
    },
}  # fmt: skip


def make_training_workspace(base: Path, examples: Examples) -> None:
    """Photos, manifest, class images, base and params.yaml, in the working directory."""
    shutil.copytree(base, "base")
    for folder in ("photos", "data/regularization"):
        Path(folder).mkdir(parents=True)
    sides = {"train": examples.train, "holdout": examples.holdout}
    images = [
        _photo(Path(shutil.copy(example.picture, "photos")), side, example.caption)
        for side, some in sides.items() for example in some
    ]  # fmt: skip
    summary = Summary(
        total_images=8, total_captions=8, unique_captions=2, caption_distribution={}, mean_image_size_bytes=0.0,
        resolution_set=["64x64"], train_images=6, holdout_images=2, duplicates=[], warnings=[],
    )  # fmt: skip
    write_manifest(
        Manifest(name="amira", trigger="amiranoor", class_word="woman", photos="photos", captions="data/captions",
                 images=images, summary=summary)
    )  # fmt: skip
    for example in examples.prior:
        shutil.copy(example.picture, "data/regularization")
    folder = Path("data/regularization")
    write_index(
        folder, [ClassImage(file=p.name, caption="a woman", sha256=hash_file(p)) for p in sorted(folder.iterdir())]
    )
    write_card(Path(), "amira")
    write_train_params()


def write_train_params(**train: object) -> None:
    """params.yaml of a training, with settings of it changed."""
    sections = {
        "dataset": {"name": "amira", "photos": "photos", "trigger": "amiranoor", "class_word": "woman"},
        "train": TRAIN | train,
        "machine": {"threads": 1, "state_dir": "state", "save_seconds": 0},
    }
    Path("params.yaml").write_text(yaml.safe_dump(sections))
