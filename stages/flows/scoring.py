"""Draw pictures and score them: what sweep, eval and whoever else judges pictures do the same way."""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from stages.backends.generate import drawer_of, open_generator
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.manifest import Photo, read_manifest
from stages.contracts.paths import MANIFEST
from stages.contracts.protocol import fill
from stages.contracts.scorecard import Settings
from stages.contracts.settings import ComfyUI, Dataset, Draw, Eval, Judges, Machine, Sweep
from stages.flows.drawing import (
    Shot,
    check_can_draw,
    describe_drawer,
    describe_request,
    draw,
    draws_elsewhere,
    place_of,
)
from stages.flows.sights import TOGETHER, Instruments, Seen, Sight, examine_all, open_instruments
from stages.measures.identity import similarities
from stages.measures.skin import NO_FACE, SkinReferences, SkinScore, skin_references, skin_score
from stages.runtime.ahead import ahead
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, resize
from stages.runtime.progress import tell_resumed
from stages.runtime.provenance import hash_json, hash_path
from stages.runtime.state import work_folder


@dataclass(frozen=True)
class References:
    """What pictures are compared with: real photos that no LoRA was trained on."""

    first: np.ndarray  # float32 (R, D), the face pack's unit embeddings
    second: np.ndarray  # float32 (R, D2), the second judge's
    skin: SkinReferences
    faceless: int  # photos in which no face was found, left out
    sights: tuple[Sight, ...]  # of all of them


@dataclass(frozen=True)
class Score:
    """What the judges say about one picture."""

    face_found: bool
    similarity: float  # mean raw cosine to the references, 0 without a face
    second_similarity: float
    skin: SkinScore  # 0 without a face
    adherence: float  # CLIP cosine of picture and prompt
    sight: Sight = field(compare=False, repr=False)

    def passes(self, threshold: float) -> bool:
        """Whether the face is there and its similarity reaches ``threshold``."""
        return self.face_found and self.similarity >= threshold


def without_trigger(prompt: str, dataset: Dataset) -> str:
    """The prompt that the text-image judge reads: the trigger is a word that it cannot know."""
    text = re.sub(r"\s+", " ", prompt.replace("{trigger}", "").replace("{class_word}", dataset.class_word))
    return re.sub(r"\s*,(\s*,)*", ",", text).strip(" ,")


def request_of(cell: Settings, draw: Draw, prompt: str, seed: int) -> ImageRequest:
    """The request for one picture with a cell's settings; one (prompt, seed) has one starting noise in all cells."""
    return ImageRequest(
        prompt=prompt, seed=seed, base=Path(cell.base), lora=Path(cell.lora) if cell.lora else None,
        strength=cell.strength, mode=cell.mode, guidance=cell.guidance, sampler=cell.sampler, steps=draw.steps,
        width=draw.resolution, height=draw.resolution, negative_prompt=draw.negative_prompt,
        reference=Path(cell.reference) if cell.reference else None, vae_tile=draw.vae_tile,
    )  # fmt: skip


def plan(cell: Settings, draw: Sweep | Eval, dataset: Dataset, folder: Path) -> list[Shot]:
    """Every prompt with every seed under one cell's settings; files are named for prompt and seed."""
    return [
        Shot(
            request_of(cell, draw, fill(prompt, dataset), seed),
            number,
            without_trigger(prompt, dataset),
            folder / f"p{number:02d}_s{seed}.png",
        )
        for number, prompt in enumerate(draw.prompts)
        for seed in draw.seeds
    ]


def read_photos(folder: Path, photos: Sequence[Photo], resolution: int) -> Iterator[np.ndarray]:
    """Photos as uint8 RGB, shrunk so that the longer side is at most ``resolution``: as detailed as drawn pictures."""
    yield from shrink((read_picture(folder / photo.filename, photo.sha256) for photo in photos), resolution)


def shrink(images: Iterable[np.ndarray], resolution: int) -> Iterator[np.ndarray]:
    """Pictures, uint8 (H, W, 3), with no side longer than ``resolution`` px; smaller ones stay as they are."""
    for pixels in images:
        factor = resolution / max(pixels.shape[:2])
        if factor < 1:
            pixels = resize(pixels, max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
        yield pixels


def make_references(images: Iterable[np.ndarray], instruments: Instruments) -> References:
    """Measure the reference photos, uint8 (H, W, 3) RGB.

    Raises:
        UserError: when no face is found in any of them.
    """
    seen = [one for _, one in examine_all(images, instruments)]
    sights = [one.sight for one in seen]
    faces = [sight.face for sight in sights if sight.face is not None]
    second = [sight.second for sight in sights if sight.second is not None]
    usable = [one.skin for one in seen if one.skin is not None]
    if not faces or not second or not usable:
        what = f"no usable face in any of the {len(sights)}"
        raise UserError("holdout photos", what, "use photos that show the face, or another judges.faces.detection_size")
    first = np.stack([face.embedding for face in faces])
    return References(first, np.stack(second), skin_references(usable), len(sights) - len(faces), tuple(sights))


def score(
    images: Iterable[np.ndarray], prompts: Iterable[str], references: References, instruments: Instruments
) -> Iterator[Score]:
    """Score pictures, uint8 (H, W, 3) RGB, as they come, each with what it should show."""
    return (found for _, found in judge(images, prompts, references, instruments))


def judge(
    images: Iterable[np.ndarray], prompts: Iterable[str], references: References, instruments: Instruments,
    together: int = TOGETHER,
) -> Iterator[tuple[np.ndarray, Score]]:  # fmt: skip
    """``score``, each picture beside its score; ``together`` pictures are looked at before the first is passed on."""
    pairs = zip(examine_all(images, instruments, together), prompts, strict=True)
    while group := list(islice(pairs, together)):
        scores = _score_together([seen for (_, seen), _ in group], [p for _, p in group], references, instruments)
        yield from ((image, found) for ((image, _), _), found in zip(group, scores, strict=True))


def _score_together(
    seen: Sequence[Seen], prompts: list[str], references: References, instruments: Instruments
) -> list[Score]:
    sights = [one.sight for one in seen]
    first = similarities([sight.face.embedding if sight.face else None for sight in sights], references.first)
    second = similarities([sight.second for sight in sights], references.second)
    adherence = (np.stack([sight.shows for sight in sights]) * instruments.text_image.embed_texts(prompts)).sum(axis=1)
    skins = [skin_score(one.skin, references.skin) if one.sight.face else NO_FACE for one in seen]
    return [
        Score(sight.face is not None, float(first[i]), float(second[i]), skins[i], float(adherence[i]), sight)
        for i, sight in enumerate(sights)
    ]


@dataclass(frozen=True)
class Studio:
    """A generator, judges and what to compare with, ready to draw and score."""

    generator: Generator
    instruments: Instruments
    references: References
    kept: Path  # what an interrupted run has drawn
    beside: bool = False  # draw the next pictures while judging; never changes a number

    def score(self, shots: Sequence[Shot]) -> Iterator[Score]:
        """Draw, write and score every shot, as they come."""
        images = draw(self.generator, shots, self.kept)
        if self.beside:
            images = ahead(images, TOGETHER)
        return score(images, [shot.shows for shot in shots], self.references, self.instruments)


class Drawn(Protocol):
    """The sections of a stage that draws and judges."""

    @property
    def dataset(self) -> Dataset: ...
    @property
    def judges(self) -> Judges: ...
    @property
    def comfyui(self) -> ComfyUI: ...


@contextmanager
def open_studio(
    params: Drawn, settings: Sweep | Eval, machine: Machine, shots: Sequence[Shot], folder: Path
) -> Iterator[Studio]:
    """Check everything that ``shots`` need, measure the holdout photos, and empty ``folder`` for the pictures.

    Args:
        params: the stage's sections.
        settings: the one among them that says how pictures are drawn.
        machine: what draws and judges.
        shots: all that may be drawn.
        folder: where the pictures go.

    Raises:
        UserError: before anything is deleted or drawn.
    """
    dataset = params.dataset
    generator = open_generator(settings.backend, machine, settings.micro_batch, params.comfyui)
    check_can_draw(generator, shots)
    generator.generate([shot.request for shot in shots])  # checks all of them, and draws none until it is asked to
    instruments = open_instruments(params.judges, machine)
    holdout = read_manifest().side("holdout")
    if not holdout:
        raise UserError(MANIFEST, "no holdout photos to compare with", "raise dataset.holdout_min")
    references = make_references(read_photos(dataset.photos, holdout, settings.resolution), instruments)
    with work_folder(
        machine.state_dir, folder.name, _fingerprint(drawer_of(generator), generator.identity, settings, machine, shots)
    ) as kept:
        places = {place_of(shot.request, kept) for shot in shots}
        tell_resumed(folder.name, sum(place.exists() for place in places), len(places))
        shutil.rmtree(folder, ignore_errors=True)  # pictures of an earlier run must not mix with this one's
        folder.mkdir(parents=True)
        yield Studio(generator, instruments, references, kept, draws_elsewhere(settings.backend, machine))


def _fingerprint(worker: type, identity: str, settings: Sweep | Eval, machine: Machine, shots: Sequence[Shot]) -> str:
    """The hash of everything that a picture depends on; ``worker`` and ``identity`` are the generator's."""
    requests = [shot.request for shot in shots]
    named = {path for request in requests for path in (request.base, request.lora, request.reference)}
    models = sorted(path for path in named if path is not None)
    drawer = describe_drawer(worker, identity, settings, machine)
    return hash_json([drawer, [describe_request(r) for r in requests], [hash_path(path) for path in models]])
