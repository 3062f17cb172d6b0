"""The miniature's face embedder: ArcFace's convention and margin loss (arXiv:1801.07698) in 0.4 million parameters.

Input: float32 (N, 3, 112, 112) RGB, (pixel - 127.5) / 127.5, aligned by five landmarks as insightface's norm_crop does;
output (N, 128) of unit length.  The classes' proxies are not free: a small network makes them from the identity's
parameters, so that every class teaches all the others, and the same parameters are regressed from the picture.
"""

from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from miniature.blocks import Residual, conv
from miniature.detector import PACK, open_pack
from miniature.onnx_files import write_onnx
from miniature.pictures import degraded, resized, similarity, wobbled
from miniature.places import TRAINING, VALIDATION
from miniature.render import IDENTITY_DIM, Identity, alter_hair, render, sample_identity, sample_scene
from miniature.shards import Shard, open_shard, scene_seed
from miniature.training import Recipe, restore
from miniature.training import train as train_part
from miniature.verification import pair_similarities, verification

WIDTH = 128
THRESHOLD = 0.60
SCALE, MARGIN = 24.0, 0.2  # ArcFace's s and m
EASY_STEPS = 1000  # over which the margin grows
RECIPE = Recipe(part="embedder", steps=3000, batch=64, learning_rate=2e-3, seed=12, weight_decay=0.05, clip=5.0)
PEOPLE = range(TRAINING.start + 100_000, TRAINING.start + 108_000)
SCENES = 5
SHARD_SIZE = 96
# insightface's arcface_dst: where the landmarks lie in the aligned picture of 112 px.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class Embedder(nn.Module):
    """Residual network; a learned weight per place (global depthwise convolution) sums up the last 7 x 7 map."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 2), conv(16, 32, 2), Residual(32), conv(32, 56, 2), Residual(56), Residual(56),
            conv(56, 96, 2), Residual(96), nn.Conv2d(96, 192, 1, bias=False), nn.BatchNorm2d(192), nn.ReLU(),
            nn.Conv2d(192, 192, 7, groups=192, bias=False), nn.BatchNorm2d(192), nn.Flatten(),
        )  # fmt: skip
        self.last = nn.Sequential(nn.Linear(192, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Summary (N, 192) before the last layer."""
        return self.body(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.last(self.features(x)).float(), dim=1)


class _Trained(nn.Module):
    """What is trained: the embedder, the maker of proxies and the regression of the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder = Embedder()
        # Both normalizations keep proxies (and embeddings) centred: without them all collapse into one direction.
        self.proxies = nn.Sequential(
            nn.BatchNorm1d(IDENTITY_DIM, affine=False), nn.Linear(IDENTITY_DIM, 192), nn.SiLU(),
            nn.Linear(192, WIDTH, bias=False), nn.BatchNorm1d(WIDTH, affine=False),
        )  # fmt: skip
        self.regression = nn.Linear(192, IDENTITY_DIM)


def arcface_loss(
    embeddings: torch.Tensor, proxies: torch.Tensor, classes: torch.Tensor, margin: float = MARGIN
) -> torch.Tensor:
    """Cross-entropy over cosines to the proxies, the own class's angle enlarged by the margin.

    ``embeddings`` (N, D) and ``proxies`` (C, D) of unit length, ``classes`` (N,).
    """
    cosines = embeddings @ proxies.t()
    own = cosines.gather(1, classes[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    enlarged = torch.cos(torch.acos(own) + margin)
    return F.cross_entropy(SCALE * cosines.scatter(1, classes[:, None], enlarged), classes)


def aligned(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The 112 px picture that insightface's norm_crop cuts by landmarks (5, 2) in px."""
    return cv2.warpAffine(image, similarity(landmarks, TEMPLATE), (112, 112), borderValue=0.0)


def training_view(image: np.ndarray, landmarks: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An aligned picture as the detector would deliver it from a small, imperfect photo."""
    side = 64 if rng.random() < 0.5 else int(rng.integers(44, SHARD_SIZE + 1))
    factor = side / image.shape[0]
    if side != image.shape[0]:
        image = resized(image, side, side, rng)
    if rng.random() < 0.2:
        image = wobbled(image, rng)
    image = degraded(image, rng, 0.22)
    # The detector misses a landmark by about .04 of the box, and all of them together by a little.
    sigma = float(np.sqrt((box[2] - box[0]) * (box[3] - box[1]))) * (0.028 if rng.random() < 0.85 else 0.05)
    missed = rng.normal(0, sigma, (5, 2)) + rng.normal(0, 0.5 * sigma, 2)
    return aligned(image, (landmarks + missed) * factor)


def to_input(pictures: np.ndarray) -> torch.Tensor:
    """Network input of uint8 pictures (N, H, W, 3)."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    return (pixels - 127.5).div(127.5).contiguous(memory_format=torch.channels_last)


class EmbedderTask:
    """Margin loss over all training people, and the regression of their parameters."""

    def __init__(self) -> None:
        self.model = _Trained().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @cached_property
    def shard(self) -> Shard:
        return open_shard(PEOPLE, SCENES, SHARD_SIZE, workers=1)

    @cached_property
    def vectors(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self.shard.vectors[::SCENES]))

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        """Mean loss of ``batch`` pictures drawn from all people and scenes."""
        rows = np.sort(rng.choice(len(self.shard), batch, replace=False))
        shard = self.shard
        views = [training_view(shard.images[i], shard.landmarks[i], shard.boxes[i], rng) for i in rows]
        classes = torch.from_numpy(rows // SCENES)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.model.embedder.features(to_input(np.stack(views)))
        features = features.float()
        embeddings = F.normalize(self.model.embedder.last(features), dim=1)
        proxies = F.normalize(self.model.proxies(self.vectors), dim=1)
        guessed = self.model.regression(features)
        margin = MARGIN * min(1.0, step / EASY_STEPS)
        identification = arcface_loss(embeddings, proxies, classes, margin)
        return identification + 4 * F.smooth_l1_loss(guessed, self.vectors[classes])


def build() -> EmbedderTask:
    """The task, its pictures not opened yet."""
    return EmbedderTask()


def train() -> float:
    """Train to the end, or go on with an interrupted training; the seconds spent in all."""
    return train_part(RECIPE, build)[1]


class _Spread(nn.Module):
    """The embedder with its space evened out by a matrix (WIDTH, WIDTH)."""

    def __init__(self, embedder: Embedder, matrix: torch.Tensor) -> None:
        super().__init__()
        self.embedder = embedder
        self.register_buffer("matrix", matrix)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.embedder(x) @ self.matrix, dim=1)


@torch.no_grad()
def spreading(embedder: Embedder, shard: Shard, people: int = 1500) -> torch.Tensor:
    """Symmetric matrix that takes the training people's mean embeddings half the way to equal variance.

    Raw, they use about 20 of the 128 directions, so that strangers look alike too often (FAR at 0.60: .0025 raw,
    .0016 half the way, TAR the same on people who are neither trained on nor validated with; all the way hurts TAR).
    """
    embedder.eval()
    means = []
    for first in range(0, people * SCENES, SCENES):
        rows = range(first, first + SCENES)
        views = np.stack([aligned(shard.images[i], shard.landmarks[i].astype(np.float64)) for i in rows])
        means.append(embedder(to_input(views)).mean(0))
    values, directions = torch.linalg.eigh(torch.cov(torch.stack(means).double().t()))
    return (directions @ torch.diag((values + 1e-4) ** -0.25) @ directions.t()).float()


def export() -> Path:
    """Write the newest checkpoint as the pack's rec.onnx."""
    task, seconds = restore(RECIPE.part, build)
    assert isinstance(task, EmbedderTask)
    embedder = task.model.embedder
    path = PACK / "rec.onnx"
    dynamic = {"input": {0: "N"}, "embedding": {0: "N"}}
    model = _Spread(embedder, spreading(embedder, task.shard))
    write_onnx(model, torch.zeros(1, 3, 112, 112), path, ["embedding"], dynamic, {"seconds": f"{seconds:.0f}"})
    return path


# ---------------------------------------------------------------- measuring


def photos(seeds: range, scenes: int, size: int = 64) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures of unseen people, ``scenes`` each, and whose they are (N,)."""
    pairs = ((seed, sample_scene(scene_seed(seed, n))) for seed in seeds for n in range(scenes))
    images = [render(sample_identity(seed), scene, size).image for seed, scene in pairs]
    return images, np.repeat(np.arange(len(seeds)), scenes)


def faces_of(pack, images: list[np.ndarray]) -> list:
    """The surest face of every picture (RGB), None where none was found."""
    found = [pack.get(np.ascontiguousarray(image[..., ::-1])) for image in images]
    return [max(faces, key=lambda face: face.det_score) if faces else None for faces in found]


def _after_the_hairdresser(pack, seeds: range, size: int) -> float:
    """Mean cosine between two photos of one person, the hair changed in between."""
    cosines = []
    for seed in seeds:
        person = sample_identity(seed)
        pair: tuple[Identity, Identity] = (person, alter_hair(person, seed))
        images = [render(who, sample_scene(scene_seed(seed, n)), size).image for n, who in enumerate(pair)]
        before, after = faces_of(pack, images)
        if before is not None and after is not None:
            cosines.append(float(before.normed_embedding @ after.normed_embedding))
    return float(np.mean(cosines))


def measure(people: int = 220, scenes: int = 6) -> dict[str, float]:
    """Figures of the exported pack on unseen people: pictures of 64 px, and fewer of 96 px, detected at det_size 128.

    Pairs are all pairs of pictures in which a face was found; tar_at_threshold and far_at_threshold are at cosine 0.60.
    """
    figures: dict[str, float] = {}
    for size, count, suffix in ((64, people, ""), (96, people // 2, "_96")):
        pack, seeds = open_pack(), range(VALIDATION.start, VALIDATION.start + count)
        images, owners = photos(seeds, scenes, size)
        faces = faces_of(pack, images)
        kept = np.array([face is not None for face in faces])
        embeddings = np.stack([face.normed_embedding for face in faces if face is not None])
        rates = verification(*pair_similarities(embeddings, owners[kept]), THRESHOLD)
        figures |= {f"{name}{suffix}": value for name, value in rates.items()}
        figures[f"found{suffix}"] = float(kept.mean())
        if size == 64:
            figures["hair_changed_mean"] = _after_the_hairdresser(pack, seeds, size)
    return figures
