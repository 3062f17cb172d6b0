"""The two flows whose growth is measured, each prepared in the working directory: a function that runs it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.photos import write_photos
from miniature.places import DEVELOPMENT, WEIGHTS
from miniature.render import render, sample_identity, sample_scene
from stages import sweep
from stages.contracts.lora import MANIFEST_KEY, final_path, write_lora
from stages.contracts.manifest import Manifest, read_manifest, write_manifest
from stages.contracts.paths import MANIFEST, SWEEP_PER_IMAGE
from stages.contracts.settings import Dataset, Judges, Machine, read_machine
from stages.flows.dataset import build_manifest
from stages.flows.photo_facts import open_viewers
from stages.runtime.pictures import write_png
from stages.runtime.provenance import hash_file

PHOTOS, CAPTIONS = Path("data/photos"), Path("data/captions")
JUDGES: dict[str, Any] = {
    "faces": {"path": str(WEIGHTS / "faces/models/miniature"), "licence": "miniature", "detection_size": 128},
    "second": {"path": str(WEIGHTS / "judge"), "licence": "miniature"},
    "text_image": {"path": str(WEIGHTS / "clip"), "licence": "miniature"},
}
DATASET = {"name": "growth", "photos": PHOTOS.as_posix(), "trigger": "amira", "class_word": "woman"}
PROMPTS = ("{trigger}, a {class_word}, smiling", "{trigger}, a {class_word}, frowning, studio background")
SUBJECT = {
    "kind": "synthetic", "name": "a rendered person", "dataset": "growth", "adult": True,
    "scope": ["non-commercial"], "made_with": "miniature/render.py", "date": "2026-01-01",
}  # fmt: skip
KEY = "lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight"
CELLS = 50  # guidances x strengths of a sweep; a hundred pictures are one first picture of each prompt and cell


def prepare_manifest(count: int) -> Callable[[], int]:
    """Photos of about 1024 px with the miniature's judges, as the manifest stage sees them."""
    write_photos(PHOTOS, count)
    CAPTIONS.mkdir(parents=True)
    for path in PHOTOS.iterdir():
        (CAPTIONS / f"{path.stem}.txt").write_text("amira, a woman")
    viewers = open_viewers(Judges.model_validate(JUDGES), Machine())
    dataset = Dataset.model_validate(DATASET | {"moment_similarity": None})

    def work() -> int:
        built: Manifest = build_manifest(PHOTOS, CAPTIONS, dataset, Machine().workers, viewers)
        write_manifest(built)
        return len(built.images)

    return work


def prepare_sweep(count: int) -> Callable[[], int]:
    """A workspace whose grid has ``count`` pictures, of 64 px; the contenders' fresh ones come on top."""
    for number in range(24):
        scene = sample_scene(number, eyewear="none", hat="none")
        write_png(PHOTOS / f"{number:03d}.png", render(sample_identity(DEVELOPMENT.start), scene, 96).image)
    CAPTIONS.mkdir(parents=True)
    settings = {"holdout_min": 12, "duplicate_distance": 0, "moment_similarity": None}
    write_manifest(build_manifest(PHOTOS, CAPTIONS, Dataset.model_validate(DATASET | settings)))
    write_base(Path("base"))
    Path("data/subject.yaml").write_text(yaml.safe_dump(SUBJECT))
    header = {"ss_steps": "100", "ss_network_dim": "4", MANIFEST_KEY: hash_file(MANIFEST)}
    write_lora(final_path("growth"), {KEY: np.ones((1, 4), np.float32)}, header)
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/loss.csv").write_text("step,loss,prior_loss,holdout_loss,learning_rate,d\n100,,,0.05,0.001,\n")
    Path("params.yaml").write_text(yaml.safe_dump(sweep_params(count)))
    assert len(read_manifest().images) == 24
    assert read_machine().state_dir is not None

    def work() -> int:
        sweep.main()
        return len(SWEEP_PER_IMAGE.read_text().splitlines()) - 1

    return work


def sweep_params(count: int) -> dict[str, Any]:
    """Fifty cells of two prompts, and as many seeds as it takes."""
    grid = {"guidance": [float(g) for g in range(1, 11)], "strengths": [0.2, 0.4, 0.6, 0.8, 1.0]}
    seeds = max(1, count // (CELLS * len(PROMPTS)))
    draw = {
        "backend": "bench.standin:Standin", "resolution": 64, "steps": 2, "micro_batch": 4, "prompts": list(PROMPTS),
        "bases": ["base"], "seeds": list(range(1, 1 + seeds)), "confirm_seeds": [10_001, 10_002],
    }  # fmt: skip
    return {
        "dataset": DATASET, "sweep": grid | draw, "comfyui": {}, "judges": JUDGES, "thresholds": {},
        "machine": {"state_dir": os.fspath(Path("state").absolute())},
    }  # fmt: skip


def write_base(folder: Path) -> None:
    """What the sweep looks at before it draws."""
    (folder / "scheduler").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "scheduler" / "scheduler_config.json").write_text('{"timestep_spacing": "trailing"}')
