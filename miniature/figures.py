"""What the miniature's models are worth: figures on people nobody trained on, and the aims."""

import importlib
import multiprocessing
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from miniature.places import VALIDATION, WEIGHTS
from miniature.render import BACKGROUNDS, sample_identity, sample_scene
from miniature.render import describe as caption_of
from miniature.render import render as draw
from stages.runtime.provenance import hash_file

PARTS = ("vae", "base", "detector", "embedder", "judge", "clip", "captioner")
# part.figure -> (direction, aim)
AIMS: dict[str, tuple[str, float]] = {
    "renderer.renders_per_cpu_second": (">=", 150),
    "vae.vae_psnr_db": (">=", 30),
    "base.face_found": (">=", 0.95),
    "base.attributes_as_prompted": (">=", 0.75),
    "captioner.attributes": (">=", 0.90),
    "clip.retrieval_32": (">=", 0.80),
    "detector.recall_64": (">=", 0.99), "detector.recall_96": (">=", 0.99), "detector.recall_128": (">=", 0.99),
    "detector.precision_64": (">=", 0.99), "detector.precision_96": (">=", 0.99),
    "detector.precision_128": (">=", 0.99),
    "detector.false_fire_64": ("<=", 0.02),
    "embedder.eer": ("<=", 0.01), "embedder.tar_at_far_1e3": (">=", 0.97), "embedder.far_at_threshold": ("<=", 0.002),
    "judge.eer": ("<=", 0.02),
}  # fmt: skip
TIMED = frozenset({"renderer.renders_per_cpu_second"})  # depend on the machine, not on the weights
SAMPLES = 200
PROMPTED = ("background", "eyewear", "hat", "framing", "garment_colour")


def measure_renderer(count: int = 600) -> dict[str, float]:
    """Renders of 64 px per CPU-second, one thread."""
    cv2.setNumThreads(1)
    people = [sample_identity(VALIDATION.start + n) for n in range(20)]
    scenes = [sample_scene(n) for n in range(count)]
    started = time.process_time()
    for n, scene in enumerate(scenes):
        draw(people[n % 20], scene, 64)
    return {"renders_per_cpu_second": count / (time.process_time() - started)}


def _prompts(count: int) -> list[tuple[str, dict[str, str]]]:
    """Prompts of close-up and portrait scenes with what they ask for."""
    asked = []
    for n in range(count):
        scene = sample_scene(9_000_000 + n, framing=("close-up", "portrait")[n % 2], background=BACKGROUNDS[n % 6])
        person = sample_identity(VALIDATION.start + n)
        asked.append((caption_of(person, scene), {name: getattr(scene, name) for name in PROMPTED}))
    return asked


def measure_base(folder: Path = WEIGHTS / "base") -> dict[str, float]:
    """Share of 200 close-up and portrait samples with a face, and share of attributes as prompted.

    Faces are found by the face pack at det_size 128, attributes are read by the captioner: background, eyewear, hat,
    framing and clothes' colour, each weighing the same.
    """
    import torch

    from miniature import base, captioner
    from stages.backends.faces import open_face_judge
    from stages.contracts.settings import FacePack, Machine

    torch.set_num_threads(1)
    asked = _prompts(SAMPLES)
    pictures = base.sample(base.load_pipeline(folder), [text for text, _ in asked], list(range(SAMPLES)), 12, 3.0)
    pack = FacePack(path=WEIGHTS / "faces" / "models" / "miniature", licence="ours", detection_size=128)
    found = [face is not None for face in open_face_judge(pack, Machine(threads=1)).faces(list(pictures))]
    model, processor = captioner.load()
    seen = [captioner.parse_caption(text) for text in captioner.caption(model, processor, list(pictures))]
    right = {
        name: float(np.mean([saw.get(name) == want[name] for saw, (_, want) in zip(seen, asked, strict=True)]))
        for name in PROMPTED
    }
    figures = {"face_found": float(np.mean(found)), "attributes_as_prompted": float(np.mean(list(right.values())))}
    return figures | {f"prompted_{name}": share for name, share in right.items()}


def measure(part: str) -> dict[str, float]:
    """Every figure of one part, from the stored weights, one thread."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if part == "renderer":
        return measure_renderer()
    figures: Callable[[], dict[str, float]] = importlib.import_module(f"miniature.{part}").measure
    return figures() | (measure_base() if part == "base" else {})


def measure_all() -> dict[str, dict[str, float]]:
    """Figures of the renderer and all parts, two processes side by side, rounded to six digits."""
    names = ("base", "renderer", *(part for part in PARTS if part != "base"))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        found = dict(zip(names, pool.map(measure, names), strict=True))
    return {name: {key: round(float(value), 6) for key, value in found[name].items()} for name in sorted(found)}


def weights_sha256() -> dict[str, str]:
    """sha256 of every committed weight file, by its path under miniature/weights."""
    files = sorted(p for p in WEIGHTS.rglob("*") if p.suffix in (".safetensors", ".onnx"))
    return {p.relative_to(WEIGHTS).as_posix(): hash_file(p) for p in files}


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    import onnxruntime
    import torch

    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return {"processor": model, "instructions": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__, "onnxruntime": onnxruntime.__version__}  # fmt: skip


def aim_met(name: str, value: float) -> bool:
    """Whether figure ``part.name`` meets its aim."""
    direction, aim = AIMS[name]
    return value >= aim if direction == ">=" else value <= aim
