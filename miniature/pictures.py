"""Picture operations that the face models' trainings share: degradations, resizing and similarity warps.

Pictures are uint8 (H, W, 3) RGB everywhere.
"""

import cv2
import numpy as np

SHRINKING = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
GROWING = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def resized(image: np.ndarray, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """The picture at another size, with an interpolation drawn among those that people use."""
    ways = SHRINKING if width * height < image.shape[0] * image.shape[1] else GROWING
    return cv2.resize(image, (width, height), interpolation=ways[rng.integers(len(ways))])


def blurred(image: np.ndarray, rng: np.random.Generator, most: float = 1.1) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, most))


def compressed(image: np.ndarray, rng: np.random.Generator, worst: int = 35) -> np.ndarray:
    quality = int(rng.integers(worst, 96))
    # The codec is told BGR and given RGB: the chroma planes differ a little, the artefacts are the same.
    stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))


def noised(image: np.ndarray, rng: np.random.Generator, most: float = 10.0) -> np.ndarray:
    """Grain, half the time coarser than a pixel, as a decoder's mistakes are."""
    height, width = image.shape[:2]
    coarse = 1 + int(rng.integers(2)) * int(rng.integers(1, 4))
    shape = (-(-height // coarse), -(-width // coarse), 3)
    noise: np.ndarray = rng.standard_normal(shape, dtype=np.float32) * rng.uniform(1, most)
    if coarse > 1:
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def recoloured(image: np.ndarray, rng: np.random.Generator, most: float = 0.1) -> np.ndarray:
    """Mild changes of white balance, brightness, contrast and saturation."""
    gain = (1 + rng.uniform(-most, most)) * (1 + rng.uniform(-most, most, 3) * 0.5)
    saturation = 1 + rng.uniform(-2 * most, 2 * most)
    mixing = saturation * np.eye(3) + (1 - saturation) / 3
    offset = rng.uniform(-most, most) * 127
    matrix = np.hstack([gain[:, None] * mixing, np.full((3, 1), offset)])
    return cv2.transform(image, matrix)


def wobbled(image: np.ndarray, rng: np.random.Generator, most: float = 0.012) -> np.ndarray:
    """A smooth random warp of up to ``most`` of the side: small generative models draw features slightly off."""
    height, width = image.shape[:2]
    grid = rng.uniform(-most, most, (2, 6, 6)).astype(np.float32) * max(height, width)
    dx, dy = (cv2.resize(g, (width, height), interpolation=cv2.INTER_CUBIC) for g in grid)
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(image, xs + dx, ys + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def rescaled(image: np.ndarray, rng: np.random.Generator, least: float = 0.5) -> np.ndarray:
    """Shrunk and grown back: detail is lost, the size stays."""
    height, width = image.shape[:2]
    factor = rng.uniform(least, 0.95)
    small = resized(image, max(8, round(width * factor)), max(8, round(height * factor)), rng)
    return resized(small, width, height, rng)


def degraded(image: np.ndarray, rng: np.random.Generator, probability: float = 0.25) -> np.ndarray:
    """Each kind of damage with ``probability``: colours, lost detail, blur, grain, JPEG."""
    for change in (recoloured, rescaled, blurred, noised, compressed):
        if rng.random() < probability:
            image = change(image, rng)
    return image


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) matrix of the similarity that takes ``source`` (N, 2) nearest to ``target`` in the least-squares sense.

    Without reflection this is Umeyama's (1991) estimate, which insightface's norm_crop uses; on points taken as
    complex numbers it is the regression w = a z + b.
    """
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
