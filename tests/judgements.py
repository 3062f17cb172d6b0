"""A judged version that was made up: no two figures are alike, no prompt has as many seeds as another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.contracts.generation import Face, ImageRequest
from stages.contracts.manifest import Photo
from stages.contracts.measure_settings import Pose
from stages.contracts.paths import EVAL_IMAGES
from stages.flows.judged import Judged, Photos
from stages.flows.scoring import References, Score, Shot
from stages.flows.sights import Sight
from stages.measures.skin import NO_FACE, SkinFeatures, SkinScore, skin_references

PLACES = ((0, 12), (0, 5), (1, 7), (1, 12), (1, 5), (2, 12))  # prompt index and seed: two, three and one of a prompt
POSE = Pose(nose_depth=0.5, half=20.0, profile=50.0)
FRONT = np.array([[20.0, 20.0], [60.0, 20.0], [40.0, 40.0], [28.0, 60.0], [52.0, 60.0]])
GROUPS, HELD = (0, 0, 1, 2, 3, 4), (10, 11, 1)  # moments of the training and of the holdout photos
LEVELS = {"lora": 0.6, "base": 0.1, "class": 0.2}
SKIN = skin_references([SkinFeatures(0.0, 0.0, 0.0, 0.0, np.ones(4) / 4)])


def make_sight(rng: np.random.Generator, *, found: bool = True) -> Sight:
    shows = rng.normal(size=8).astype(np.float32)
    landmarks = FRONT + rng.normal(0, 1, (5, 2))
    landmarks[2, 0] += rng.choice([0.0, 12.0, -40.0])  # frontal, half profile, profile
    face = Face(np.array([0, 0, 9, 9.0]), landmarks, 1.0, np.ones(1, np.float32)) if found else None
    low, high = (int(rng.integers(0, 2**62)) for _ in range(2))
    return Sight(face, np.ones(1, np.float32) if found else None, shows / np.linalg.norm(shows), (low, high))


def make_score(rng: np.random.Generator, level: float, *, found: bool = True) -> Score:
    """Around ``level``; the second judge's scale is another one."""
    first, second = (level + rng.normal(0, 0.05), 0.3 + level + rng.normal(0, 0.02)) if found else (0.0, 0.0)
    skin = SkinScore(*rng.uniform(0.2, 0.9, 2), *rng.normal(0, 1, 2)) if found else NO_FACE
    return Score(found, float(first), float(second), skin, float(rng.uniform(0.2, 0.4)), make_sight(rng, found=found))


def make_shots(name: str) -> list[Shot]:
    return [
        Shot(
            ImageRequest(f"prompt {p}", seed, Path("base"), None),
            p,
            f"prompt {p}",
            EVAL_IMAGES / name / f"{p}_{seed}.png",
        )
        for p, seed in PLACES
    ]  # fmt: skip


def make_photo(number: int, group: int, split: str) -> Photo:
    return Photo.model_validate(
        {"filename": f"{split}{number}.jpg", "sha256": "", "size_bytes": 1, "width": 1, "height": 1, "caption_file": "",
         "caption_text": "", "caption_sha256": "", "phash": "0" * 16, "group": group, "split": split}
    )  # fmt: skip


def make_judged(seed: int = 0, lost: Sequence[tuple[str, int]] = (("lora", 4),)) -> Judged:
    """``lost``: set and number of the pictures without a face."""
    rng = np.random.default_rng(seed)
    train = [make_photo(n, group, "train") for n, group in enumerate(GROUPS)]
    holdout = [make_photo(n, group, "holdout") for n, group in enumerate(HELD)]
    own = [make_score(rng, 0.8) for _ in train]
    references = References(
        np.ones((3, 1), np.float32), np.ones((3, 1), np.float32), SKIN, 0, tuple(make_sight(rng) for _ in holdout)
    )
    scores = {
        name: [make_score(rng, level, found=(name, n) not in lost) for n in range(len(PLACES))]
        for name, level in LEVELS.items()
    }
    others = [make_score(rng, 0.15) for _ in range(2)]
    return Judged(
        {name: make_shots(name) for name in LEVELS}, scores, Photos(train, own, holdout, references), others, POSE
    )
