"""How close pictures come to training photos, by the miniature's CLIP."""

from pathlib import Path

import numpy as np
import pytest

from stages.contracts.manifest import read_manifest
from stages.contracts.settings import Dataset, Judges, Machine, read_yaml
from stages.flows.nearest_photos import measure_nearest, nearest_similarity
from stages.flows.scoring import open_instruments


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
