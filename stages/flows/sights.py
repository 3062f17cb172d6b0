"""What judges see in a picture before it is compared with anything."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from stages.backends.crew import as_worker, open_crew
from stages.backends.crew.task import Item, Task, hash_files
from stages.backends.faces import open_face_judge, open_second_judge
from stages.backends.text_image import open_text_image_judge
from stages.contracts.generation import Face, FaceJudge, SecondJudge, TextImageJudge
from stages.contracts.settings import Judges, Machine
from stages.measures.memorisation import hash_picture
from stages.measures.skin import SkinFeatures, skin_features

TOGETHER = 16  # pictures handed to the judges at once; decides memory and speed, never a number


@dataclass(frozen=True)
class Instruments:
    """The judges, opened."""

    faces: FaceJudge
    second: SecondJudge
    text_image: TextImageJudge
    others: "Others | None" = None  # who look at pictures in our place


@dataclass(frozen=True)
class Sight:
    """What the judges see in one picture."""

    face: Face | None
    second: np.ndarray | None  # float32 (D2,), the second judge's unit embedding; None without a face
    shows: np.ndarray  # float32 (D3,), CLIP's
    hashes: tuple[int, int]  # perceptual, of the picture and of its mirror image


@dataclass(frozen=True)
class Seen:
    """A sight, and what scores need of the pixels."""

    sight: Sight
    skin: SkinFeatures | None  # None without a face, or where hardly any skin shows


@dataclass(frozen=True)
class Others:
    """Workers of a Ray cluster, each with the same judges."""

    judges: Judges
    machine: Machine

    def examine(self, groups: Iterable[list[np.ndarray]]) -> Iterator[list[Seen]]:
        """``examine`` for every group, in order; some groups are read ahead."""
        task = Task("looking", open_examining, (self.judges, as_worker(self.machine)))
        paths = {self.judges.faces.path, self.judges.second.path, self.judges.text_image.path}
        return open_crew(self.machine).do(task, (Item(group, hash_files(paths)) for group in groups))


def open_instruments(judges: Judges, machine: Machine) -> Instruments:
    """Open all three judges; with ``machine.ray_address`` workers will look in their place.

    Raises:
        UserError: when the weights of one are missing.
    """
    return Instruments(
        open_face_judge(judges.faces, machine),
        open_second_judge(judges.second, machine),
        open_text_image_judge(judges.text_image, machine),
        Others(judges, machine) if machine.ray_address is not None else None,
    )


def open_examining(judges: Judges, machine: Machine) -> Callable[[list[np.ndarray]], list[Seen]]:
    """On a worker: what looks at a group of pictures."""
    instruments = open_instruments(judges, machine)
    return lambda images: examine(images, instruments)


def look(images: Sequence[np.ndarray], instruments: Instruments) -> list[Sight]:
    """What there is to see in pictures, uint8 (H, W, 3) RGB, compared with nothing yet."""
    faces = instruments.faces.faces(images)
    second, shows = instruments.second.embed(images, faces), instruments.text_image.embed_images(images)
    return [
        Sight(face, other, shown, hash_picture(image))
        for image, face, other, shown in zip(images, faces, second, shows, strict=True)
    ]


def examine(images: Sequence[np.ndarray], instruments: Instruments) -> list[Seen]:
    """``look``, and the skin of each face."""
    return [
        Seen(sight, skin_features(image, sight.face.landmarks) if sight.face else None)
        for image, sight in zip(images, look(images, instruments), strict=True)
    ]


def examine_all(
    images: Iterable[np.ndarray], instruments: Instruments, together: int = TOGETHER
) -> Iterator[tuple[np.ndarray, Seen]]:
    """Every picture, uint8 (H, W, 3) RGB, with what is seen in it, in order, ``together`` at a time."""
    images = iter(images)
    groups = iter(lambda: list(islice(images, together)), [])
    if instruments.others is None:
        for group in groups:
            yield from zip(group, examine(group, instruments), strict=True)
        return
    waiting: deque[list[np.ndarray]] = deque()

    def handed_on() -> Iterator[list[np.ndarray]]:
        for group in groups:
            waiting.append(group)
            yield group

    for seen in instruments.others.examine(handed_on()):
        yield from zip(waiting.popleft(), seen, strict=True)
