"""Render faces once, in parallel, into memory-mapped arrays: training loops must not wait for the renderer."""

import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from miniature.places import cache_folder
from miniature.render import IDENTITY_DIM, Render, render, sample_identity, sample_scene

CHUNK = 250  # identities rendered by one task


@dataclass(frozen=True)
class Shard:
    """Rendered faces: row i is one picture."""

    images: np.ndarray  # uint8 (N, size, size, 3) RGB
    identities: np.ndarray  # int64 (N,) identity seed
    vectors: np.ndarray  # float32 (N, IDENTITY_DIM)
    boxes: np.ndarray  # float32 (N, 4) x0 y0 x1 y1
    landmarks: np.ndarray  # float32 (N, 5, 2)
    captions: list[str]
    attributes: list[dict[str, str]]

    def __len__(self) -> int:
        return len(self.images)


def scene_seed(identity: int, number: int) -> int:
    """Seed of an identity's scene ``number``: no two identities share a scene."""
    return identity * 1009 + number


def _render_chunk(seeds: list[int], scenes: int, size: int) -> list[tuple[int, np.ndarray, Render]]:
    rows = []
    for seed in seeds:
        identity = sample_identity(seed)
        vector = identity.vector()
        rows += [(seed, vector, render(identity, sample_scene(scene_seed(seed, n)), size)) for n in range(scenes)]
    return rows


def _write(folder: Path, seeds: range, scenes: int, size: int, workers: int) -> None:
    count = len(seeds) * scenes
    arrays: dict[str, np.ndarray] = {
        "images": np.empty((count, size, size, 3), np.uint8), "identities": np.empty(count, np.int64),
        "vectors": np.empty((count, IDENTITY_DIM), np.float32), "boxes": np.empty((count, 4), np.float32),
        "landmarks": np.empty((count, 5, 2), np.float32),
    }  # fmt: skip
    texts = []
    chunks = [list(seeds[i : i + CHUNK]) for i in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(workers) as pool:
        results = pool.map(_render_chunk, chunks, [scenes] * len(chunks), [size] * len(chunks))
        rows = (row for chunk in results for row in chunk)
        for i, (seed, vector, face) in enumerate(rows):
            arrays["images"][i], arrays["identities"][i], arrays["vectors"][i] = face.image, seed, vector
            arrays["boxes"][i], arrays["landmarks"][i] = face.bbox, face.landmarks
            texts.append({"caption": face.caption, "attributes": face.attributes})
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "texts.json").write_text(json.dumps(texts))


def open_shard(seeds: range, scenes: int, size: int = 64, workers: int = 2) -> Shard:
    """Pictures of every identity in ``seeds``, ``scenes`` each, square of ``size`` px; rendered on first use.

    The folder's name holds the renderer's fingerprint, so a changed renderer never mixes with old pictures.
    """
    code = b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("render*.py")))
    code += b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("drawing*.py")))
    name = f"{seeds.start}-{seeds.stop}x{scenes}@{size}-{hashlib.sha256(code).hexdigest()[:10]}"
    folder = cache_folder() / "shards" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):  # every process of a training asks for the same shard
        if not folder.exists():
            beside = folder.with_name(f"{name}.part")
            _write(beside, seeds, scenes, size, workers)
            os.replace(beside, folder)
    arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r")
              for n in ("images", "identities", "vectors", "boxes", "landmarks")}  # fmt: skip
    texts = json.loads((folder / "texts.json").read_text())
    return Shard(**arrays, captions=[t["caption"] for t in texts], attributes=[t["attributes"] for t in texts])
