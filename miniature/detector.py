"""The miniature's face detector: SCRFD's convention (arXiv:2105.04714) at a fraction of its size.

Nine outputs as insightface expects them: for strides 8, 16 and 32 first three scores (N, A, 1) after the sigmoid, then
three box distances (N, A, 4) left/top/right/bottom, then three landmark offsets (N, A, 10), distances in units of the
stride from the anchor point (column * stride, row * stride); A = rows * columns * 2 anchors, row by row.
Input: float32 (N, 3, H, W) RGB, (pixel - 127.5) / 128, sides divisible by 32.
"""

import math
from functools import cache, cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from miniature.blocks import Residual, conv
from miniature.onnx_files import one_thread, write_onnx
from miniature.pictures import degraded, resized
from miniature.places import TRAINING, VALIDATION, WEIGHTS
from miniature.render import render, render_faceless, sample_identity, sample_scene
from miniature.shards import Shard, open_shard, scene_seed
from miniature.training import Recipe, restore
from miniature.training import train as train_part

PACK = WEIGHTS / "faces" / "models" / "miniature"
STRIDES = (8, 16, 32)
SIZES = ((13.0, 21.0), (32.0, 50.0), (76.0, 118.0))  # face size in px that each stride's two anchors stand for
DETECTION_SIZE = 128  # best for pictures of 64 to 128 px: landmarks come out finer than at 64
CANVASES = (64, 96, 128, 160)
CANVAS_SHARES = (0.45, 0.25, 0.2, 0.1)
RECIPE = Recipe(part="detector", steps=6000, batch=40, learning_rate=2e-3, seed=11, weight_decay=0.02, clip=5.0)
FACES = range(TRAINING.start + 50_000, TRAINING.start + 52_400)
SCENES = 3
FACELESS = 2400
FACE_SHARE = 0.62


class Detector(nn.Module):
    """Residual backbone, top-down feature pyramid and one head that all strides share."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2), Residual(32))
        self.stages = nn.ModuleList(
            nn.Sequential(conv(a, b, 2), Residual(b)) for a, b in ((32, 56), (56, 72), (72, 88))
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, 48, 1) for width in (56, 72, 88))
        self.smooth = nn.ModuleList(conv(48, 48) for _ in STRIDES)
        self.head = nn.Sequential(conv(48, 48), conv(48, 48))
        self.score = nn.Conv2d(48, 2, 1)
        self.box = nn.Conv2d(48, 2 * 4, 1)
        self.points = nn.Conv2d(48, 2 * 10, 1)
        nn.init.constant_(self.get_parameter("score.bias"), -3.0)

    def pyramid(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of the three strides, finest first."""
        x, features = self.stem(x), []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            features.append(lateral(x))
        for level in (1, 0):
            features[level] = features[level] + F.interpolate(features[level + 1], scale_factor=2.0, mode="nearest")
        return [smooth(feature) for smooth, feature in zip(self.smooth, features, strict=True)]

    def _flat(self, x: torch.Tensor, values: int) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, 2, values).float()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Score logits x 3, box distances x 3, landmark offsets x 3, as in the module's docstring."""
        scores, boxes, points = [], [], []
        for feature, stride, sizes in zip(self.pyramid(x), STRIDES, SIZES, strict=True):
            feature = self.head(feature)
            half = torch.tensor(sizes).view(1, 1, 2, 1) / (2 * stride)
            scores.append(self._flat(self.score(feature), 1).flatten(1, 2))
            boxes.append((self._flat(self.box(feature), 4).clamp(-4, 4).exp() * half).flatten(1, 2))
            points.append((self._flat(self.points(feature), 10) * half).flatten(1, 2))
        return (*scores, *boxes, *points)


class _Exported(nn.Module):
    """The detector with its scores after the sigmoid."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.detector(x)
        return (*(score.sigmoid() for score in outputs[:3]), *outputs[3:])


# ---------------------------------------------------------------- anchors and losses


@cache
def anchors(width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchor points (A, 2) in px, face sizes (A,) in px and strides (A,) of a canvas, in the outputs' order."""
    points, sizes, strides = [], [], []
    for stride, pair in zip(STRIDES, SIZES, strict=True):
        rows, columns = np.mgrid[: height // stride, : width // stride] * stride
        points.append(np.repeat(np.stack([columns.ravel(), rows.ravel()], 1), 2, axis=0))
        sizes.append(np.tile(pair, rows.size))
        strides.append(np.full(2 * rows.size, stride))
    first, second, third = (np.concatenate(parts).astype(np.float32) for parts in (points, sizes, strides))
    return first, second, third


def assign(boxes: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Which face each anchor answers for (A,), -1 for none, and whether its score counts (A,) bool.

    An anchor answers when it is near the face's centre (within .65 of its stride) and of about its size (a factor of
    1.45); the nearest misses do not count, so that the border is not fought over.  Every face has one anchor at least.
    """
    points, sizes, strides = anchors(width, height)
    owner, counts = np.full(len(points), -1), np.ones(len(points), bool)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        offset = np.abs(points - ((x0 + x1) / 2, (y0 + y1) / 2)).max(1) / strides
        mismatch = np.abs(np.log(math.sqrt((x1 - x0) * (y1 - y0)) / sizes))
        near = (offset <= 0.65) & (mismatch <= math.log(1.45))
        near[np.argmin(offset / 0.65 + mismatch / math.log(1.45))] = True
        counts &= near | (offset > 1.3) | (mismatch > math.log(2.0))
        owner[near] = number
    return owner, counts | (owner >= 0)


def overlap(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU (N,) of boxes (N, 4) and the DIoU loss (arXiv:1911.08287)."""
    corner, far = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (far - corner).clamp(min=0).prod(1)
    areas = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    iou = shared / (areas - shared).clamp(min=1e-6)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]).square().sum(1) / 4
    return iou, 1 - iou + apart / hull.square().sum(1).clamp(min=1e-6)


def detection_loss(
    outputs: tuple[torch.Tensor, ...], faces: list[tuple[np.ndarray, np.ndarray]], size: int
) -> torch.Tensor:
    """SCRFD's three terms: quality focal loss (arXiv:2006.04388), DIoU and L1 of landmarks in face sizes.

    ``faces`` holds boxes (K, 4) and landmarks (K, 10) in px for each picture of the batch.
    """
    scores, distances, offsets = (torch.cat(outputs[i : i + 3], 1) for i in (0, 3, 6))
    assigned = [assign(boxes, size, size) for boxes, _ in faces]
    owner = np.stack([a[0] for a in assigned])
    counts = torch.from_numpy(np.stack([a[1] for a in assigned]))
    picture, anchor = np.nonzero(owner >= 0)
    quality = torch.zeros_like(scores[..., 0])
    regression = torch.zeros(())
    if len(picture):
        target = [np.concatenate([faces[p][k][owner[p, a]][None] for p, a in zip(picture, anchor, strict=True)])
                  for k in (0, 1)]  # fmt: skip
        boxes, landmarks = (torch.from_numpy(t) for t in target)
        points, _, strides = (torch.from_numpy(array)[anchor] for array in anchors(size, size))
        reach = distances[picture, anchor] * strides[:, None]
        found = torch.cat([points - reach[:, :2], points + reach[:, 2:]], 1)
        iou, loss = overlap(found, boxes)
        quality[picture, anchor] = iou.detach().clamp(0.2, 1.0)
        placed = points.repeat(1, 5) + offsets[picture, anchor] * strides[:, None]
        side = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
        regression = 2 * loss.mean() + 4 * ((placed - landmarks).abs().mean(1) / side).mean()
    logits = scores[..., 0]
    plain = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    focal = (quality - logits.sigmoid()).square() * plain
    return focal[counts].sum() / max(1, len(picture)) + regression


# ---------------------------------------------------------------- training pictures


def _without_features(
    image: np.ndarray, box: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The face with its features painted over, by skin colour or by a blur that leaves nothing but shading."""
    x0, y0, x1, y1 = box
    inside = image[int(y0) + 1 : max(int(y0) + 3, int(y1)), int(x0) + 1 : max(int(x0) + 3, int(x1))]
    mask = np.zeros(image.shape[:2], np.float32)
    centre = landmarks.mean(0)
    axes = (int(0.5 * (x1 - x0)), int(0.42 * (y1 - y0)))
    cv2.ellipse(mask, (int(centre[0]), int(centre[1] - 0.04 * (y1 - y0))), axes, 0, 0, 360, 1.0, -1)
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.03 * (x1 - x0) + 0.5))[..., None]
    if rng.random() < 0.5:
        fill = np.zeros_like(image) + np.median(inside.reshape(-1, 3), axis=0).astype(np.uint8)
    else:
        fill = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.22 * (x1 - x0)))
    return (soft * fill + (1 - soft) * image).astype(np.uint8)


def _scrambled(image: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The face cut into 3 x 3 tiles that changed places."""
    x0, y0, x1, y1 = (int(v) for v in box)
    width, height = (x1 - x0) // 3, (y1 - y0) // 3
    corners = [(y0 + r * height, x0 + c * width) for r in range(3) for c in range(3)]
    order, result = rng.permutation(9), image.copy()
    while (order == np.arange(9)).sum() > 2:
        order = rng.permutation(9)
    for (y, x), source in zip(corners, order, strict=True):
        v, u = corners[source]
        result[y : y + height, x : x + width] = image[v : v + height, u : u + width]
    return result


def _pattern(side: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a random coarseness, or a smooth gradient."""
    cells = int(rng.choice((2, 3, 8, 24, side)))
    grid = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
    way = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    return cv2.resize(grid, (side, side), interpolation=way)


class Pictures:
    """Draws training pictures: canvases with zero, one or two faces, letterboxed as insightface does it."""

    @cached_property
    def shard(self) -> Shard:
        return open_shard(FACES, SCENES, 128, workers=1)

    @cached_property
    def faceless(self) -> np.ndarray:
        return np.stack([render_faceless(TRAINING.start + n, 128).image for n in range(FACELESS)])

    def face(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        i = int(rng.integers(len(self.shard)))
        return self.shard.images[i], self.shard.boxes[i].astype(np.float64), self.shard.landmarks[i].astype(np.float64)

    def negative(self, rng: np.random.Generator) -> np.ndarray:
        """A picture without an upright, whole face."""
        kind = rng.choice(6, p=(0.42, 0.2, 0.13, 0.1, 0.08, 0.07))
        if kind == 0:
            image = self.faceless[rng.integers(FACELESS)]
            return image[:, ::-1] if rng.random() < 0.5 else image
        image, box, landmarks = self.face(rng)
        if kind == 1:
            return _without_features(image, box, landmarks, rng)
        if kind == 2:
            return np.rot90(image, 2) if rng.random() < 0.5 else image[::-1]
        if kind == 3:
            return np.rot90(image, rng.choice((1, 3)))
        return _scrambled(image, box, rng) if kind == 4 else _pattern(128, rng)

    def backdrop(self, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < 0.5:
            return cv2.resize(self.faceless[rng.integers(FACELESS)], (width, height), interpolation=cv2.INTER_AREA)
        return np.zeros((height, width, 3), np.uint8) + rng.integers(0, 256, 3).astype(np.uint8)

    def placed(
        self, image: np.ndarray, box: np.ndarray | None, width: int, height: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """The 128 px source in a picture (height, width, 3), framed as it is or zoomed; its scale and shift (2,)."""
        own = max(width, height) / 128
        scale, x, y = own, (width - 128 * own) / 2, (height - 128 * own) / 2
        if rng.random() < 0.45:
            side = 60.0 if box is None else math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
            scale = min(width, height) * math.exp(rng.uniform(math.log(0.24), math.log(0.9))) / side
            scale = min(scale, 1.6 * own)
        if box is not None:
            scale = min(scale, 1.1 * min(width, height) / float((box[2:] - box[:2]).max()))
        if box is not None and (scale != own or width != height):
            centre = (box[:2] + box[2:]) / 2 * scale
            half = np.minimum((box[2:] - box[:2]) / 2 * scale * 0.9, (width / 2 - 1, height / 2 - 1))
            x, y = (rng.uniform(h, size - h) - c for h, size, c in zip(half, (width, height), centre, strict=True))
        elif scale != own:
            x, y = (rng.uniform(min(0, size - 128 * scale), max(0, size - 128 * scale)) for size in (width, height))
        if scale < 0.75:  # shrink first: a bilinear warp would alias
            side = max(8, round(128 * scale))
            image, step = resized(np.ascontiguousarray(image), side, side, rng), side / 128
        else:
            step = 1.0
        matrix = np.array([[scale / step, 0, x], [0, scale / step, y]])
        canvas = self.backdrop(width, height, rng)
        source = np.ascontiguousarray(image)
        cv2.warpAffine(source, matrix, (width, height), dst=canvas, borderMode=cv2.BORDER_TRANSPARENT)
        return canvas, scale, np.array([x, y])

    def picture(self, width: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A degraded picture with its boxes (K, 4) and landmarks (K, 10), K being 0 or 1."""
        if rng.random() >= FACE_SHARE:
            image, _, _ = self.placed(self.negative(rng), None, width, height, rng)
            return degraded(image, rng), np.zeros((0, 4), np.float32), np.zeros((0, 10), np.float32)
        image, box, landmarks = self.face(rng)
        if rng.random() < 0.5:  # mirrored: left and right change places
            image, box = image[:, ::-1], np.array([128 - box[2], box[1], 128 - box[0], box[3]])
            landmarks = (landmarks * (-1, 1) + (128, 0))[[1, 0, 2, 4, 3]]
        image, scale, shift = self.placed(image, box, width, height, rng)
        box, landmarks = ((p.reshape(-1, 2) * scale + shift).astype(np.float32) for p in (box, landmarks))
        return degraded(image, rng), box.reshape(1, 4), landmarks.reshape(1, 10)

    def canvas(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A square network input: one letterboxed picture, or two side by side."""
        canvas = np.zeros((size, size, 3), np.uint8)
        if size >= 96 and rng.random() < 0.15:
            half = size // 2
            left, right = self.picture(half, size, rng), self.picture(half, size, rng)
            canvas[:, :half], canvas[:, half:] = left[0], right[0]
            moved = (values + np.resize(np.array([half, 0], np.float32), values.shape) for values in right[1:])
            boxes, landmarks = (np.concatenate(both) for both in zip(left[1:], moved, strict=True))
            return canvas, boxes, landmarks
        ratio = 1.0 if rng.random() < 0.6 else math.exp(rng.uniform(-0.5, 0.5))
        width, height = round(size * min(1.0, ratio)), round(size * min(1.0, 1 / ratio))
        image, boxes, landmarks = self.picture(width, height, rng)
        canvas[:height, :width] = image
        return canvas, boxes, landmarks


class DetectorTask:
    """The detector and its loss on freshly composed canvases of one size per step."""

    def __init__(self) -> None:
        self.model = Detector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.pictures = Pictures()

    def loss(self, batch: int, rng: np.random.Generator, noise: torch.Generator, step: int) -> torch.Tensor:
        """Mean loss of ``batch`` canvases of 64 px, or of as many larger ones as cost half as much again at most."""
        size = int(rng.choice(CANVASES, p=CANVAS_SHARES))
        rows = [self.pictures.canvas(size, rng) for _ in range(batch * 64 // size)]
        pixels = torch.from_numpy(np.stack([row[0] for row in rows])).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.model((pixels.float() - 127.5).div(128).contiguous(memory_format=torch.channels_last))
        return detection_loss(outputs, [row[1:] for row in rows], size)


def build() -> DetectorTask:
    """The task, its pictures not drawn yet."""
    return DetectorTask()


def train() -> float:
    """Train to the end, or go on with an interrupted training; the seconds spent in all."""
    return train_part(RECIPE, build)[1]


def export() -> Path:
    """Write the newest checkpoint as the pack's det.onnx."""
    task, seconds = restore(RECIPE.part, build)
    names = [f"{kind}_{stride}" for kind in ("score", "bbox", "kps") for stride in STRIDES]
    dynamic = {name: {0: "N", 1: f"A{name.split('_')[1]}"} for name in names} | {"input": {0: "N", 2: "H", 3: "W"}}
    path = PACK / "det.onnx"
    assert isinstance(task.model, Detector)
    write_onnx(_Exported(task.model), torch.zeros(1, 3, 64, 64), path, names, dynamic, {"seconds": f"{seconds:.0f}"})
    return path


# ---------------------------------------------------------------- measuring


def open_pack(size: int = DETECTION_SIZE, threshold: float = 0.5):
    """insightface's FaceAnalysis on the committed pack, one thread, detecting in squares of ``size`` px."""
    from insightface.app import FaceAnalysis

    # The directory itself: a folder called "miniature" in the working directory would win over any root.
    pack = FaceAnalysis(name=str(PACK), providers=["CPUExecutionProvider"], sess_options=one_thread())
    pack.prepare(ctx_id=-1, det_thresh=threshold, det_size=(size, size))
    return pack


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes (4,) x0 y0 x1 y1."""
    return float(overlap(torch.as_tensor(a)[None].float(), torch.as_tensor(b)[None].float())[0])


def _measure_faces(pack, size: int, detection: int, count: int) -> dict[str, list[float]]:
    """One row per unseen identity: found (IoU over .5), boxes beside it, IoU, landmark error in box sides."""
    rows: dict[str, list[float]] = {"found": [], "wrong": [], "iou": [], "points": []}
    for seed in range(VALIDATION.start, VALIDATION.start + count):
        truth = render(sample_identity(seed), sample_scene(scene_seed(seed, size)), size)
        assert truth.bbox is not None
        boxes, points = pack.det_model.detect(truth.image[..., ::-1], input_size=(detection, detection))
        ious = [box_iou(box[:4], truth.bbox) for box in boxes]
        hits = [i for i, iou in enumerate(ious) if iou > 0.5]
        rows["found"].append(float(bool(hits)))
        rows["wrong"].append(float(len(boxes) - bool(hits)))
        if hits:
            side = math.sqrt((truth.bbox[2] - truth.bbox[0]) * (truth.bbox[3] - truth.bbox[1]))
            rows["iou"].append(ious[hits[0]])
            rows["points"].append(float(np.linalg.norm(points[hits[0]] - truth.landmarks, axis=1).mean() / side))
    return rows


def _fires(pack, images: list[np.ndarray], size: int) -> float:
    return float(np.mean([len(pack.det_model.detect(i[..., ::-1], input_size=(size, size))[0]) > 0 for i in images]))


def _tampered(count: int) -> dict[str, list[np.ndarray]]:
    """Unseen faces that must not be found: painted over, upside down, and mere noise."""
    rng = np.random.default_rng(5)
    rows: dict[str, list[np.ndarray]] = {"erased": [], "upside_down": [], "noise": []}
    for seed in range(VALIDATION.start, VALIDATION.start + count):
        face = render(sample_identity(seed), sample_scene(scene_seed(seed, 7)), 64)
        assert face.bbox is not None
        assert face.landmarks is not None
        rows["erased"].append(_without_features(face.image, face.bbox.astype(np.float64), face.landmarks, rng))
        rows["upside_down"].append(face.image[::-1])
        rows["noise"].append(_pattern(64, rng))
    return rows


def measure(count: int = 400) -> dict[str, float]:
    """Figures of the exported detector on unseen identities, ``count`` pictures per size, through insightface.

    recall_S and precision_S at IoU .5 for pictures of S px detected at det_size S ("64_at_128": 64 px at 128), mean
    IoU, landmark error in box sides (root of the area), and the share of faceless pictures, of erased and upside-down
    faces and of noise in which it finds something.
    """
    pack, figures = open_pack(), {}
    for size, detection, name in ((64, 64, "64"), (96, 96, "96"), (128, 128, "128"), (64, 128, "64_at_128")):
        rows = _measure_faces(pack, size, detection, count)
        found = sum(rows["found"])
        figures[f"recall_{name}"] = found / count
        figures[f"precision_{name}"] = found / max(1.0, found + sum(rows["wrong"]))
        figures[f"iou_{name}"] = float(np.mean(rows["iou"]))
        figures[f"landmark_error_{name}"] = float(np.mean(rows["points"]))
        faceless = [render_faceless(VALIDATION.start + n, size).image for n in range(count)]
        figures[f"false_fire_{name}"] = _fires(pack, faceless, detection)
    for kind, images in _tampered(count).items():
        figures[f"false_fire_{kind}"] = _fires(pack, images, DETECTION_SIZE)
    return figures
