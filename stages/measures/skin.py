"""Skin realism: is skin as rough, as noisy and as coloured as in real photos of the same person?

There is no absolute threshold: sharpness and tone differ from person to person and photo to photo.  So each measurement
becomes a robust z among the reference photos, and |z| <= 1 costs nothing.  Measured on the picture's own pixels (no
resampling, which would smooth): landmarks place InsightFace's alignment template on the face, and the template says
where the cheeks are and which parts (eyes, brows, mouth, nostrils) are no skin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

FEW_REFERENCES = 10  # below this many, the scores are computed but little is known about the photos' own spread

# ArcFace's template (arXiv:1801.07698): left eye, right eye, nose, mouth corners in a 112 x 112 crop, px.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
# Ellipses in the template: centre x, y, half axes.
FACE = (56.0, 73.0, 33.0, 41.0)
CHEEKS = ((38.0, 76.0, 8.0, 7.0), (74.0, 76.0, 8.0, 7.0))
NO_SKIN = ((38.3, 48.0, 15.0, 13.0), (73.5, 48.0, 15.0, 13.0), (56.0, 92.3, 21.0, 9.0), (56.0, 75.0, 9.0, 5.0))
GATE_LIGHTNESS, GATE_COLOUR = 22.0, 12.0  # Lab distance from the cheeks beyond which a pixel is hair, glasses or glare
LEAST_PIXELS = 16
BINS, SPREAD, SMOOTHING = 24, 60.0, 1.0  # a/b histogram: bins per axis, range -60..60, Gaussian sigma in bins
NEAREST = 3
PRIOR_COUNT = 4  # the prior weighs as much as four references
# What real photos of a person usually spread by: log units, log units, Lab units, chi-square distance.
PRIORS = {"laplacian": 0.60, "noise": 0.45, "chroma": 9.0, "histogram": 0.33}


@dataclass(frozen=True)
class SkinFeatures:
    """What is measured on one face."""

    log_scale: float  # log of the face's size: px per px of the 112 px template
    log_laplacian: float  # log variance of the Laplacian of lightness
    log_noise: float  # log noise sigma of lightness
    chroma: float  # median Lab chroma
    histogram: np.ndarray  # float64 (BINS * BINS,) of Lab a and b, sums to 1


@dataclass(frozen=True)
class Line:
    """A measurement over log face scale among the references: y = height + slope * (x - middle), and its spread."""

    middle: float
    height: float
    slope: float
    spread: float

    def z(self, x: float, y: float) -> float:
        """How many spreads ``y`` lies above what a reference of that size would show."""
        return (y - self.height - self.slope * (x - self.middle)) / self.spread


@dataclass(frozen=True)
class SkinReferences:
    """What real photos of the person show."""

    laplacian: Line
    noise: Line
    chroma: Line
    histograms: np.ndarray  # float64 (R, BINS * BINS)
    distance: Line  # of a histogram to its nearest references
    count: int

    @property
    def few(self) -> bool:
        """Whether there are too few photos to know their spread."""
        return self.count < FEW_REFERENCES


@dataclass(frozen=True)
class SkinScore:
    """0..1 each; 1 is as real photos are."""

    texture: float
    tone: float
    texture_z: float = math.nan  # how much rougher (above 0) or smoother than the references, in their spreads
    tone_z: float = math.nan  # how much more coloured, or paler

    @property
    def realism(self) -> float:
        """Geometric mean: skin of the wrong colour is not saved by its pores."""
        return float(np.sqrt(self.texture * self.tone))


NO_FACE = SkinScore(0.0, 0.0)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) matrix of the rotation, scale and shift that takes ``source`` (N, 2) nearest to ``target`` (Umeyama 1991).

    On points taken as complex numbers it is the regression w = a z + b.
    """
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / max(np.vdot(centred, centred).real, 1e-12)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _inside(ellipse: tuple[float, float, float, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    cx, cy, rx, ry = ellipse
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1


def skin_mask(lab: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Where skin is: bool (H, W) for float Lab (H, W, 3) and landmarks (5, 2) px."""
    matrix = similarity_transform(landmarks.astype(np.float64), TEMPLATE)
    rows, columns = np.mgrid[: lab.shape[0], : lab.shape[1]]
    x = matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2]
    y = matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2]
    face = _inside(FACE, x, y)
    for part in NO_SKIN:
        face &= ~_inside(part, x, y)
    cheeks = face & (_inside(CHEEKS[0], x, y) | _inside(CHEEKS[1], x, y))
    if not cheeks.any():
        return face
    offset = lab - np.median(lab[cheeks], axis=0)
    like_cheeks = (np.abs(offset[..., 0]) <= GATE_LIGHTNESS) & (np.hypot(offset[..., 1], offset[..., 2]) <= GATE_COLOUR)
    mask: np.ndarray = face & like_cheeks
    return mask


def skin_features(image: np.ndarray, landmarks: np.ndarray) -> SkinFeatures | None:
    """Measure the skin of a face in a uint8 (H, W, 3) RGB picture; None where hardly any skin shows.

    Texture: variance of the 3 x 3 Laplacian (Pech-Pacheco et al., ICPR 2000) and the noise sigma of Immerkaer (1996),
    "Fast noise variance estimation", both of lightness on pixels whose whole neighbourhood is skin.
    Tone: CIE Lab a and b.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    mask = skin_mask(lab, landmarks)
    if mask.sum() < LEAST_PIXELS:
        return None
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    if inner.sum() < LEAST_PIXELS:
        inner = mask  # a small face: its edges must do
    lightness = lab[..., 0].astype(np.float64)
    laplacian = cv2.Laplacian(lightness, cv2.CV_64F, ksize=1)[inner]
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)
    noise = np.sqrt(np.pi / 2) / 6 * np.abs(cv2.filter2D(lightness, cv2.CV_64F, kernel)[inner]).mean()
    a, b = lab[mask][:, 1], lab[mask][:, 2]
    edges = np.linspace(-SPREAD, SPREAD, BINS + 1)
    counts, _, _ = np.histogram2d(np.clip(a, -SPREAD, SPREAD), np.clip(b, -SPREAD, SPREAD), bins=(edges, edges))
    matrix = similarity_transform(landmarks.astype(np.float64), TEMPLATE)
    counts = cv2.GaussianBlur(counts, (0, 0), SMOOTHING)  # so that a small shift of tone is a small distance
    return SkinFeatures(
        log_scale=float(-np.log(np.hypot(matrix[0, 0], matrix[1, 0]))),
        log_laplacian=float(np.log(laplacian.var() + 1e-3)),
        log_noise=float(np.log(noise + 1e-2)),
        chroma=float(np.median(np.hypot(a, b))),
        histogram=(counts / counts.sum()).ravel(),
    )


def _line(x: np.ndarray, y: np.ndarray, prior: float, sloped: bool = True) -> Line:
    """Robust line: Theil-Sen slope (drawn towards 0 by few points), median height, spread from the MAD and a prior."""
    middle = float(np.median(x))
    slope = 0.0
    if sloped and len(x) >= 3:
        i, j = np.triu_indices(len(x), 1)
        apart = np.abs(x[i] - x[j]) > 0.05
        if apart.any():
            slope = float(np.median((y[i] - y[j])[apart] / (x[i] - x[j])[apart])) * len(x) / (len(x) + PRIOR_COUNT)
    rest = y - slope * (x - middle)
    height = float(np.median(rest))
    mad = 1.4826 * float(np.median(np.abs(rest - height)))
    spread = float(np.sqrt((len(x) * mad**2 + PRIOR_COUNT * prior**2) / (len(x) + PRIOR_COUNT)))
    return Line(middle, height, slope, spread)


def chi_square(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Chi-square distance of histograms along the last axis: 0 (equal) .. 1 (disjoint)."""
    distance: np.ndarray = 0.5 * ((a - b) ** 2 / np.maximum(a + b, 1e-12)).sum(axis=-1)
    return distance


def _to_nearest(histogram: np.ndarray, references: np.ndarray) -> float:
    return float(np.sort(chi_square(histogram, references))[:NEAREST].mean())


def skin_references(features: Sequence[SkinFeatures]) -> SkinReferences:
    """Statistics of the reference photos, at least one; each photo's histogram distance is to the other photos."""
    if not features:
        raise ValueError("no reference photo shows skin")
    x = np.array([f.log_scale for f in features])
    histograms = np.stack([f.histogram for f in features])
    others = [0.0]
    if len(features) > 1:
        others = [_to_nearest(own, np.delete(histograms, i, axis=0)) for i, own in enumerate(histograms)]
    return SkinReferences(
        laplacian=_line(x, np.array([f.log_laplacian for f in features]), PRIORS["laplacian"]),
        noise=_line(x, np.array([f.log_noise for f in features]), PRIORS["noise"]),
        chroma=_line(x, np.array([f.chroma for f in features]), PRIORS["chroma"], sloped=False),
        histograms=histograms,
        distance=_line(x, np.array(others), PRIORS["histogram"], sloped=False),
        count=len(features),
    )


def plausibility(z: float) -> float:
    """1 for |z| <= 1, then falling like a Gaussian of width 1.75: 0..1."""
    return float(np.exp(-0.5 * (max(0.0, abs(z) - 1.0) / 1.75) ** 2))


def skin_score(features: SkinFeatures | None, references: SkinReferences) -> SkinScore:
    """Compare a face with the references; no skin seen scores 0."""
    if features is None:
        return NO_FACE
    x = features.log_scale
    texture_z, tone_z = references.laplacian.z(x, features.log_laplacian), references.chroma.z(x, features.chroma)
    noisy = plausibility(references.noise.z(x, features.log_noise))
    # Nearer to the references than they are to each other is no fault.
    distance = max(0.0, references.distance.z(x, _to_nearest(features.histogram, references.histograms)))
    return SkinScore(
        texture=min(plausibility(texture_z), noisy), tone=min(plausibility(tone_z), plausibility(distance)),
        texture_z=texture_z, tone_z=tone_z,
    )  # fmt: skip
