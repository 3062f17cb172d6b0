"""What judges see in a picture before it is compared with anything."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.backends.faces import open_face_judge, open_second_judge
from stages.backends.text_image import open_text_image_judge
from stages.contracts.generation import Face, FaceJudge, SecondJudge, TextImageJudge
from stages.contracts.settings import Judges, Machine
from stages.measures.memorisation import hash_picture


@dataclass(frozen=True)
class Instruments:
    """The judges, opened."""

    faces: FaceJudge
    second: SecondJudge
    text_image: TextImageJudge


@dataclass(frozen=True)
class Sight:
    """What the judges see in one picture."""

    face: Face | None
    second: np.ndarray | None  # float32 (D2,), the second judge's unit embedding; None without a face
    shows: np.ndarray  # float32 (D3,), CLIP's
    hashes: tuple[int, int]  # perceptual, of the picture and of its mirror image


def open_instruments(judges: Judges, machine: Machine) -> Instruments:
    """Open all three judges.

    Raises:
        UserError: when the weights of one are missing.
    """
    return Instruments(
        open_face_judge(judges.faces, machine),
        open_second_judge(judges.second, machine),
        open_text_image_judge(judges.text_image, machine),
    )


def look(images: Sequence[np.ndarray], instruments: Instruments) -> list[Sight]:
    """What there is to see in pictures, uint8 (H, W, 3) RGB, compared with nothing yet."""
    faces = instruments.faces.faces(images)
    second, shows = instruments.second.embed(images, faces), instruments.text_image.embed_images(images)
    return [
        Sight(face, other, shown, hash_picture(image))
        for image, face, other, shown in zip(images, faces, second, shows, strict=True)
    ]
