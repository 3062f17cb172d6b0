"""How close pictures come to training photos, by the miniature's CLIP."""

from pathlib import Path

import numpy as np
import pytest

from stages.contracts.manifest import Manifest, Photo, read_manifest
from stages.contracts.settings import Dataset, Judges, Machine, read_yaml
from stages.flows.nearest_photos import measure_nearest, nearest_similarity
from stages.flows.scoring import open_instruments
from stages.runtime.pictures import write_png
from stages.runtime.provenance import hash_file


class Grey:
    """Embeds a picture as its mean colour's direction."""

    def embed_images(self, images: list[np.ndarray]) -> np.ndarray:
        colours = np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)
        return colours / np.linalg.norm(colours, axis=1, keepdims=True)


def test_the_nearest_photo_counts_and_no_other() -> None:
    red, green = (np.full((4, 4, 3), colour, np.uint8) for colour in ([200, 0, 0], [0, 200, 0]))
    between = np.full((4, 4, 3), [100, 50, 0], np.uint8)
    judge = Grey()
    photos = judge.embed_images([red, green])
    found = nearest_similarity([red, between], photos, judge)  # type: ignore[arg-type]
    assert found == pytest.approx([1.0, 100 / np.hypot(100, 50)])


def test_a_copy_of_a_training_photo_is_nearer_than_a_holdout_photo(workspace: Path) -> None:
    sections = read_yaml(Path("params.yaml"))
    manifest, dataset = read_manifest(), Dataset(**sections["dataset"])
    judge = open_instruments(Judges(**sections["judges"]), Machine(threads=1)).text_image
    places = {
        number: [dataset.photos / photo.filename for photo in manifest.side(side)][:4]
        for number, side in enumerate(("train", "holdout"))
    }
    found = measure_nearest(places, dataset, manifest, 96, judge)
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert found[1] < 0.99


def test_only_training_photos_are_looked_at_shrunk_and_every_group_has_its_own_mean(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(Grey):
        def embed_images(self, images: list[np.ndarray]) -> np.ndarray:
            seen.extend(image.shape for image in images)
            return super().embed_images(images)

    def draw(name: str, colour: tuple[int, int, int], height: int, width: int) -> None:
        write_png(tmp_path / name, np.full((height, width, 3), colour, np.uint8))

    draw("red.png", (200, 0, 0), 40, 80)
    draw("blue.png", (0, 0, 200), 30, 20)
    draw("green.png", (0, 200, 0), 40, 40)  # of the other side: a copy of it is no copy of a training photo
    photos = [
        Photo.model_construct(filename=f"{name}.png", split=split, sha256=hash_file(tmp_path / f"{name}.png"))
        for name, split in (("red", "train"), ("green", "holdout"), ("blue", "train"))
    ]
    manifest = Manifest.model_construct(images=photos)
    for name, colour in (("a", (100, 0, 100)), ("b", (9, 0, 0)), ("c", (0, 50, 0)), ("d", (0, 30, 40))):
        draw(f"{name}.png", colour, 8, 8)
    places = {5: [tmp_path / "a.png", tmp_path / "b.png"], 2: [tmp_path / "c.png"], 9: [tmp_path / "d.png"]}
    dataset = Dataset.model_construct(photos=tmp_path)
    found = measure_nearest(places, dataset, manifest, 40, Watching())  # type: ignore[arg-type]
    assert found == {5: pytest.approx((np.sqrt(0.5) + 1) / 2), 2: pytest.approx(0.0), 9: pytest.approx(0.8)}
    assert seen[:2] == [(20, 40, 3), (30, 20, 3)]
