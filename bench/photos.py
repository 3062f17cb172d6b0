"""A folder of photos as cameras make them, the same bytes on every machine of one kind: rendered people with grain.

What is rendered is flat, and a flat PNG decodes in no time.  Grain gives JPEG and PNG the size that photos have.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from miniature.places import DEVELOPMENT
from miniature.render import render, sample_identity, sample_scene

SIDES = ((1024, 1024), (1024, 768), (832, 1216), (1024, 1024), (1216, 832), (1024, 1365))
PNG_EVERY = 7  # as in the persona's folder: five of 36
SCENES = 60  # rendered anew; photos beyond are crops of them with other grain
GRAIN = 9.0  # levels of 255


def render_scene(number: int) -> np.ndarray:
    """A development person at 768 px, uint8 RGB."""
    person = DEVELOPMENT.start + number % len(DEVELOPMENT)
    return render(sample_identity(person), sample_scene(number), 768).image


def take_photo(number: int, scene: np.ndarray) -> Image.Image:
    """The ``number``-th photo: a crop of a scene, of another size than its neighbours, with grain of its own."""
    rng = np.random.default_rng(number)
    width, height = SIDES[number % len(SIDES)]
    side = int(rng.integers(560, 768))
    left, top = (int(value) for value in rng.integers(0, 768 - side + 1, 2))
    view = cv2.resize(scene[top : top + side, left : left + side], (width, height), interpolation=cv2.INTER_CUBIC)
    small = rng.integers(-128, 128, (height // 2, width // 2), dtype=np.int16).astype(np.float32)
    grain_HW = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) * (GRAIN / 42)
    return Image.fromarray(np.clip(view + grain_HW[..., None], 0, 255).astype(np.uint8))


def write_photos(folder: Path, count: int) -> list[Path]:
    """``count`` photos in ``folder``; those that lie there already are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n:05d}.{'png' if n % PNG_EVERY == 0 else 'jpg'}" for n in range(count)]
    missing = [n for n, path in enumerate(paths) if not path.exists()]
    scenes = {n: render_scene(n) for n in sorted({n % SCENES for n in missing})}

    def write(number: int) -> None:
        beside = paths[number].with_suffix(".part")
        image = take_photo(number, scenes[number % SCENES])
        if paths[number].suffix == ".png":
            image.save(beside, "PNG", compress_level=4)
        else:
            image.save(beside, "JPEG", quality=(85, 90, 95)[number % 3], subsampling=2 * (number % 2))
        beside.replace(paths[number])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, missing))
    return paths
