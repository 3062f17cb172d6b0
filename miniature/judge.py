"""The miniature's independent judge: a second opinion on identity that shares nothing with the face pack's embedder.

No landmarks and no alignment: a square of 1.5 times the longer side of the face box, edge pixels repeated beyond the
picture, at 64 px.  A plain pre-activation network (arXiv:1603.05027) with average pooling, trained by the supervised
contrastive loss (arXiv:2004.11362) on people and damages of its own.
Input "input": float32 (N, 3, 64, 64) RGB in 0..255, scaled inside the graph; output "embedding" (N, 96), unit length.
"""

import itertools
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional as F

from miniature.detector import open_pack
from miniature.embedder import faces_of, photos
from miniature.onnx_files import one_thread, write_onnx
from miniature.places import TRAINING, VALIDATION, WEIGHTS
from miniature.render import IDENTITY_DIM, sample_identity
from miniature.shards import Shard, open_shard
from miniature.training import Recipe, restore
from miniature.training import train as train_part
from miniature.verification import pair_similarities, verification
from stages.runtime.files import write_json

FILE = WEIGHTS / "judge" / "judge.onnx"
RULES = WEIGHTS / "judge" / "judge.json"  # how it wants to see a face, for whoever opens it without this module
SIDE = 64
WIDTH = 96
MARGIN = 1.5  # side of the crop in longer box sides
TEMPERATURE = 0.1
THRESHOLD = 0.79  # equal errors on 300 training-range people that nothing was trained on
RECIPE = Recipe(part="judge", steps=2600, batch=128, learning_rate=2e-3, seed=13, weight_decay=0.05, clip=5.0)
PEOPLE = range(TRAINING.start + 200_000, TRAINING.start + 206_000)
SCENES = 6
VIEWS = 4  # pictures of each person in a batch
SHARD_SIZE = 80


class _Block(nn.Module):
    """Pre-activation residual block; the first of a stage halves the map and widens it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        halved, kept = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.first = nn.Sequential(nn.BatchNorm2d(inputs), nn.SiLU(), halved)
        self.second = nn.Sequential(nn.BatchNorm2d(outputs), nn.SiLU(), kept)
        self.skip = nn.Identity() if stride == 1 else nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.second(self.first(x))


class Judge(nn.Module):
    """Five convolution stages to a 4 x 4 map, mean and maximum over it, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 40, 64, 96)
        blocks = [_Block(a, b) for a, b in itertools.pairwise(widths)]
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 5, 2, 2), *blocks, _Block(96, 96), nn.BatchNorm2d(96), nn.SiLU(),
        )  # fmt: skip
        self.last = nn.Linear(2 * 96, WIDTH)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Mean and maximum of each channel (N, 192) of pictures in 0..255."""
        x = self.body((x - 128) / 64)
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.last(self.features(x)).float(), dim=1)


class _Trained(nn.Module):
    """The judge and what only its training needs: the regression of the identity's parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = Judge()
        self.regression = nn.Linear(2 * 96, IDENTITY_DIM)


def contrastive_loss(embeddings: torch.Tensor, people: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss, the sum over positives outside the logarithm (L_out of arXiv:2004.11362).

    ``embeddings`` (N, D) of unit length, ``people`` (N,) with two pictures of everybody at least.
    """
    alone = torch.eye(len(people), dtype=torch.bool)
    logits = (embeddings @ embeddings.t() / TEMPERATURE).masked_fill(alone, -torch.inf)
    same = (people[:, None] == people[None]) & ~alone
    logs = F.log_softmax(logits, dim=1).masked_fill(~same, 0.0)
    return -(logs.sum(1) / same.sum(1)).mean()


def crop(image: np.ndarray, box: np.ndarray, margin: float = MARGIN, side: int = SIDE) -> np.ndarray:
    """The judge's view (side, side, 3) of the face in ``box`` (4,) x0 y0 x1 y1 of a picture (H, W, 3).

    A square round the box's centre, whole pixels, its side ``margin`` times the longer box side; pixels beyond the
    picture repeat its edge; area interpolation when it shrinks, bilinear when it grows.
    """
    x0, y0, x1, y1 = (float(value) for value in box)
    length = max(4, round(margin * max(x1 - x0, y1 - y0)))
    left, top = round((x0 + x1 - length) / 2), round((y0 + y1 - length) / 2)
    columns = np.clip(np.arange(left, left + length), 0, image.shape[1] - 1)
    rows = np.clip(np.arange(top, top + length), 0, image.shape[0] - 1)
    square = np.ascontiguousarray(image[rows[:, None], columns[None]])
    way = cv2.INTER_AREA if length > side else cv2.INTER_LINEAR
    return cv2.resize(square, (side, side), interpolation=way)


def _recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gamma, a colour cast, and less or more saturation."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    mixed = grey + (image - grey) * rng.uniform(0.75, 1.25)
    levels = (np.clip(mixed, 0, 255) / 255) ** np.exp(rng.uniform(-0.25, 0.25, 3) * (0.4, 0.4, 0.4))
    return np.clip(levels * 255 * rng.uniform(0.88, 1.1), 0, 255).astype(np.uint8)


def _softened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Detail lost by averaging or by a median, as compression and small generators lose it."""
    kind = rng.integers(3)
    if kind == 0:
        return cv2.medianBlur(image, 3)
    if kind == 1:
        return cv2.blur(image, (2 + int(rng.integers(2)), 2))
    small = cv2.resize(image, None, fx=(f := rng.uniform(0.45, 0.9)), fy=f, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _covered(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of one colour over a part of the view (random erasing, arXiv:1708.04896)."""
    height, width = rng.integers(8, 24, 2)
    top, left = rng.integers(0, SIDE - height), rng.integers(0, SIDE - width)
    view = view.copy()
    view[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return view


def training_view(image: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A damaged picture, cut by a box that is off as a detector's is."""
    side = 64 if rng.random() < 0.5 else int(rng.integers(48, SHARD_SIZE + 1))
    factor = side / image.shape[0]
    if side != image.shape[0]:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        image = _recoloured(image, rng)
    if rng.random() < 0.25:
        image = _softened(image, rng)
    if rng.random() < 0.25:
        grain = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 12)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    length = float(max(box[2:] - box[:2]))
    box = (box + rng.normal(0, 0.035 * length, 4)) * factor
    view = crop(image, box, MARGIN * rng.uniform(0.94, 1.06))
    return _covered(view, rng) if rng.random() < 0.2 else view


def to_input(views: np.ndarray) -> np.ndarray:
    """The network's input float32 (N, 3, 64, 64) of RGB views uint8 (N, 64, 64, 3)."""
    return np.ascontiguousarray(views.transpose(0, 3, 1, 2), dtype=np.float32)


class JudgeTask:
    """The contrastive loss over batches of a few pictures of each of some people, and the regression beside it."""

    def __init__(self) -> None:
        self.model = _Trained().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @cached_property
    def shard(self) -> Shard:
        return open_shard(PEOPLE, SCENES, SHARD_SIZE, workers=1)

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        """Mean loss of ``batch`` pictures, VIEWS of each person."""
        people = np.sort(rng.choice(len(PEOPLE), batch // VIEWS, replace=False))
        scenes = np.stack([rng.permutation(SCENES)[:VIEWS] for _ in people])
        rows = (people[:, None] * SCENES + scenes).ravel()
        views = np.stack([training_view(self.shard.images[i], self.shard.boxes[i], rng) for i in rows])
        pixels = torch.from_numpy(to_input(views)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.judge.features(pixels)
        features = features.float()
        embeddings = F.normalize(self.model.judge.last(features), dim=1)
        truth = torch.from_numpy(self.shard.vectors[rows])
        regression = F.mse_loss(self.model.regression(features), truth)
        return contrastive_loss(embeddings, torch.from_numpy(rows // SCENES)) + 2 * regression


def build() -> JudgeTask:
    """The task, its pictures not opened yet."""
    return JudgeTask()


def train() -> float:
    """Train to the end, or go on with an interrupted training; the seconds spent in all."""
    return train_part(RECIPE, build)[1]


def export() -> Path:
    """Write the newest checkpoint as judge.onnx, and its rules beside it."""
    task, seconds = restore(RECIPE.part, build)
    assert isinstance(task.model, _Trained)
    dynamic = {"input": {0: "N"}, "embedding": {0: "N"}}
    notes = {"seconds": f"{seconds:.0f}", "crop": f"square of {MARGIN} longer box sides", "pixels": "RGB 0..255"}
    write_onnx(task.model.judge, torch.zeros(1, 3, SIDE, SIDE), FILE, ["embedding"], dynamic, notes)
    rules = {"name": "miniature", "input_size": SIDE, "margin": MARGIN, "mean": 0.0, "std": 1.0, "threshold": THRESHOLD}
    write_json(RULES, rules)
    return FILE


# ---------------------------------------------------------------- measuring


def embed(session: onnxruntime.InferenceSession, images: list[np.ndarray], boxes: list[np.ndarray]) -> np.ndarray:
    """Embeddings (N, 96) of the faces in ``boxes`` of RGB pictures, one box per picture."""
    views = np.stack([crop(image, box) for image, box in zip(images, boxes, strict=True)])
    chunks = [to_input(views[i : i + 64]) for i in range(0, len(views), 64)]
    return np.concatenate([session.run(None, {"input": chunk})[0] for chunk in chunks])


def open_judge() -> onnxruntime.InferenceSession:
    """The committed judge, one thread."""
    return onnxruntime.InferenceSession(str(FILE), one_thread(), providers=["CPUExecutionProvider"])


def _correlations(first: np.ndarray, second: np.ndarray, people: np.ndarray, seeds: range) -> dict[str, float]:
    """Pearson correlations of two models' pair similarities.

    Genuine pairs as they are; impostor pairs also after taking out what the true distance of the two people's
    parameters explains (cubic fit), since models must agree about people who do look alike.
    """
    ours, theirs = pair_similarities(first, people), pair_similarities(second, people)
    vectors = np.stack([sample_identity(seed).vector() for seed in seeds])
    between = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    i, j = np.triu_indices(len(people), 1)
    apart = people[i] != people[j]
    distances = between[people[i[apart]], people[j[apart]]].astype(np.float64)
    distances -= distances.mean()  # or the fit is badly conditioned
    rest = [values - np.polyval(np.polyfit(distances, values, 3), distances) for values in (ours[1], theirs[1])]
    return {
        "genuine_correlation": float(np.corrcoef(ours[0], theirs[0])[0, 1]),
        "impostor_correlation": float(np.corrcoef(ours[1], theirs[1])[0, 1]),
        "impostor_residual_correlation": float(np.corrcoef(rest[0], rest[1])[0, 1]),
    }


def measure(people: int = 220, scenes: int = 5) -> dict[str, float]:
    """Figures of the exported judge on unseen people in pictures of 64 px, boxes from the exported detector.

    Also how far its errors agree with the embedder's: correlations of pair similarities, and how often it accepts
    the impostor pairs (refuses the genuine ones) that the embedder gets wrong at its own equal-error threshold.
    """
    pack, seeds = open_pack(), range(VALIDATION.start, VALIDATION.start + people)
    images, owners = photos(seeds, scenes)
    faces = faces_of(pack, images)
    kept = [i for i, face in enumerate(faces) if face is not None]
    owners = owners[kept]
    judged = embed(open_judge(), [images[i] for i in kept], [faces[i].bbox for i in kept])
    packed = np.stack([faces[i].normed_embedding for i in kept])
    ours, theirs = pair_similarities(judged, owners), pair_similarities(packed, owners)
    figures = verification(*ours, THRESHOLD)
    balance = verification(*theirs, THRESHOLD)["eer_threshold"]
    fooled, missed = theirs[1] >= balance, theirs[0] < balance
    figures["far_where_embedder_accepts"] = float((ours[1][fooled] >= figures["eer_threshold"]).mean())
    figures["frr_where_embedder_refuses"] = float((ours[0][missed] < figures["eer_threshold"]).mean())
    return figures | _correlations(judged, packed, owners, seeds)
