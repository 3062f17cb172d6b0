"""Draw pictures for use, and say of each whether it is good enough: what batch and serve do the same way."""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from stages.backends.generate import open_generator
from stages.backends.generate.prompt_length import describe_overlong
from stages.backends.safety import open_safety_judge
from stages.contracts import generation
from stages.contracts.generation import ImageRequest
from stages.contracts.manifest import Manifest, read_manifest
from stages.contracts.paths import MANIFEST
from stages.contracts.policy import Policy, Refused
from stages.contracts.production import Origin, PictureRecord, Scores
from stages.contracts.protocol import fill
from stages.contracts.settings import Batch, ComfyUI, Dataset, Judges, Machine, Thresholds
from stages.flows.drawing import draw_missing, draws_elsewhere, place_of
from stages.flows.judged import Photos, view_sights
from stages.flows.picture_rows import measure_yardstick
from stages.flows.policy import PromptPolicy
from stages.flows.production_gate import find_objections
from stages.flows.production_recipe import Recipe
from stages.flows.scoring import Score, judge, make_references, read_photos, request_of, score, without_trigger
from stages.flows.sights import Instruments, Sight, open_instruments
from stages.measures.memorisation import Views, Yardstick, find_closest, measure_alikeness
from stages.measures.sharpness import sharpness
from stages.runtime.ahead import ahead
from stages.runtime.errors import UserError
from stages.runtime.pictures import hash_pixels

SLUG = 40  # characters of the prompt in a picture's name
HOLE = re.compile(r"\{[^{}]*\}")
HOLES = frozenset({"{trigger}", "{class_word}"})


class Produced(Protocol):
    """The sections of whoever draws pictures for use."""

    @property
    def dataset(self) -> Dataset: ...
    @property
    def batch(self) -> Batch: ...
    @property
    def comfyui(self) -> ComfyUI: ...
    @property
    def judges(self) -> Judges: ...
    @property
    def thresholds(self) -> Thresholds: ...
    @property
    def policy(self) -> Policy: ...


@dataclass(frozen=True)
class Order:
    """One picture to make."""

    request: ImageRequest
    shows: str  # the prompt in words that CLIP knows
    origin: Origin
    name: str  # of the picture's file


@dataclass(frozen=True)
class Made:
    """One picture, drawn and judged."""

    order: Order
    pixels: np.ndarray = field(compare=False, repr=False)  # uint8 (H, W, 3) RGB
    record: PictureRecord


@dataclass(frozen=True)
class Real:
    """The person's photos, measured: what pictures are compared with."""

    photos: Photos
    views: Views  # of the training photos
    yardstick: Yardstick
    sharp: float  # median sharpness of the holdout photos' faces


class Production:
    """A generator with its judges; it remembers what it has accepted, and accepts no near-duplicate of it."""

    def __init__(
        self, params: Produced, recipe: Recipe, subject_sha256: str, policy: PromptPolicy,
        generator: generation.Generator, instruments: Instruments, safety: generation.SafetyJudge | None, real: Real,
        *, kept: Path, remembered: int | None, beside: bool = False,
    ) -> None:  # fmt: skip
        self.params, self.recipe, self.subject_sha256, self.policy = params, recipe, subject_sha256, policy
        self.generator, self.instruments, self.safety = generator, instruments, safety
        self.real, self.kept, self.beside = real, kept, beside
        self.accepted: deque[tuple[str, Sight]] = deque(maxlen=remembered)

    @property
    def memorised_from(self) -> float:
        """Closeness to a training photo above which a picture repeats it."""
        return self.real.yardstick.limit

    def order(
        self, prompt: str, seed: int, negative_prompt: str | None = None, *, batch: str = "", name: str | None = None
    ) -> Order:
        """What is to be drawn.

        Args:
            prompt: {trigger} and {class_word} are filled in.
            seed: of the starting noise.
            negative_prompt: None: that of the settings.
            batch: who asks: Origin.batch.
            name: of the file; None: version, prompt and seed.

        Raises:
            Refused: when the prompt is empty, longer than the base reads, has an unknown {word}, or the policy says no.
        """
        draw, dataset = self.params.batch, self.params.dataset
        negative = draw.negative_prompt if negative_prompt is None else negative_prompt
        text = fill(prompt, dataset)
        self._check(prompt, text, negative)
        settings = draw.model_copy(update={"negative_prompt": negative})
        request = request_of(self.recipe.cell, settings, text, seed)
        name = name or f"{name_part(self.recipe.version)}_{name_prompt(prompt)}_s{seed}.png"
        return Order(request, without_trigger(prompt, dataset), self._origin(request, prompt, batch), name)

    def _check(self, prompt: str, text: str, negative: str) -> None:
        if not text.strip():
            raise Refused("empty", "there is nothing to draw in it")
        unknown = sorted(set(HOLE.findall(prompt)) - HOLES)
        if unknown:
            raise Refused("unknown word", f"{', '.join(unknown)}; known are {', '.join(sorted(HOLES))}")
        for what, words in (("prompt", text), ("negative prompt", negative)):
            too_long = describe_overlong(self.params.batch.backend, Path(self.recipe.cell.base), words)
            if too_long:
                raise Refused("too long", f"the {what} has {too_long}")
        self.policy.check(text, negative)

    def _origin(self, request: ImageRequest, prompt: str, batch: str) -> Origin:
        recipe = self.recipe
        return Origin(
            batch=batch, prompt=prompt, text=request.prompt, negative_prompt=request.negative_prompt,
            seed=request.seed, version=recipe.version, lora=recipe.cell.lora, lora_sha256=recipe.lora_sha256,
            base=recipe.cell.base, base_sha256=recipe.base_sha256, strength=request.strength, mode=request.mode,
            guidance=request.guidance, sampler=request.sampler, steps=request.steps, width=request.width,
            height=request.height, reference_sha256=recipe.reference_sha256,
            manifest_sha256=recipe.manifest_sha256, subject_sha256=self.subject_sha256,
            backend=self.params.batch.backend,
        )  # fmt: skip

    def make(
        self, orders: Iterable[Order], find: Callable[[Order], Path | None] = lambda order: None
    ) -> Generator[Made]:
        """Draw and judge in order, as they come; memory does not grow with their number.

        Args:
            orders: what to make.
            find: a file that holds an order's pixels already; None: it is drawn, or was kept.

        Raises:
            UserError: when a model file is missing or a server does not answer.
        """
        orders = list(orders)
        requests = [order.request for order in orders]
        places = [find(order) or place_of(order.request, self.kept) for order in orders]
        drawn, together = draw_missing(self.generator, requests, places), self.params.batch.micro_batch
        if self.beside:
            drawn = ahead(drawn, together)
        shown, references = [order.shows for order in orders], self.real.photos.references
        judged = zip(orders, judge(drawn, shown, references, self.instruments, together), strict=True)
        while group := list(islice(judged, together)):
            images = [pixels for _, (pixels, _) in group]
            unsafe = self.safety.flag(images) if self.safety else [None] * len(images)
            for (order, (pixels, one)), flag in zip(group, unsafe, strict=True):
                yield self._decide(order, pixels, one, flag)

    def _decide(self, order: Order, pixels: np.ndarray, one: Score, unsafe: float | None) -> Made:
        found, params = self._measure(pixels, one).model_copy(update={"safety": unsafe}), self.params
        reasons = find_objections(found, order.origin.mode, params.thresholds, self.memorised_from, params.policy)
        if not reasons:
            self.accepted.append((order.name, one.sight))
        digest = hash_pixels(pixels)
        record = PictureRecord(
            file=order.name, pixels_sha256=digest, origin=order.origin, scores=found, approved=not reasons,
            reasons=reasons,
        )  # fmt: skip
        return Made(order, pixels, record)

    def _measure(self, pixels: np.ndarray, one: Score) -> Scores:
        face, real = one.sight.face, self.real
        closest = find_closest(view_sights([one.sight]), real.views, real.yardstick)
        sharp = sharpness(pixels, self.params.batch.resolution, face.box) / real.sharp if face else 0.0
        name, bits, alike = self._nearest(one.sight)
        return Scores(
            faces=face.count if face else 0, similarity=one.similarity, second_similarity=one.second_similarity,
            realism=one.skin.realism, adherence=one.adherence, sharpness=sharp, nearest_file=name, nearest_bits=bits,
            nearest_similarity=alike, nearest_photo=real.photos.train[int(closest.photo_N[0])].filename,
            closeness=float(closest.closeness_N[0]),
        )  # fmt: skip

    def _nearest(self, sight: Sight) -> tuple[str, int | None, float | None]:
        """The accepted picture that shows most nearly the same: of those that CLIP finds alike the one of most bits."""
        if not self.accepted:
            return "", None, None
        cosine_M, bits_M = measure_alikeness(view_sights([sight]), view_sights([seen for _, seen in self.accepted]))
        least = self.params.thresholds.batch.duplicate_similarity
        best = min(range(len(self.accepted)), key=lambda i: (cosine_M[0, i] < least, bits_M[0, i], -cosine_M[0, i]))
        return self.accepted[best][0], int(bits_M[0, best]), float(cosine_M[0, best])


def name_part(text: str) -> str:
    """``text`` as part of a file name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:SLUG].rstrip("-.") or "picture"


def name_prompt(prompt: str) -> str:
    """A prompt as part of a file name, without {trigger} and {class_word}: they are the same in all of them."""
    return name_part(re.sub(r"(\ban?\s+|\bthe\s+)?\{[^{}]*\}", "", prompt))


def measure_real(params: Produced, manifest: Manifest, instruments: Instruments) -> Real:
    """Look at the person's photos.

    Raises:
        UserError: when there are no holdout photos, or none of them shows a face.
    """
    side, holdout, train = params.batch.resolution, manifest.side("holdout"), manifest.side("train")
    if not holdout or not train:
        raise UserError(MANIFEST, "no holdout or no training photos to compare with", "raise dataset.holdout_min")
    held = list(read_photos(params.dataset.photos, holdout, side))
    references = make_references(held, instruments)
    images = read_photos(params.dataset.photos, train, side)
    scores = list(score(images, [photo.caption_text for photo in train], references, instruments))
    photos = Photos(train, scores, holdout, references)
    faces = zip(held, references.sights, strict=True)
    sharp = [sharpness(pixels, side, sight.face.box) for pixels, sight in faces if sight.face]
    views = view_sights([one.sight for one in scores])
    yardstick = measure_yardstick(photos, params.thresholds.flags.closer_than)
    return Real(photos, views, yardstick, max(float(np.median(sharp)), 1e-9))


@contextmanager
def open_production(
    params: Produced, machine: Machine, recipe: Recipe, subject_sha256: str, policy: PromptPolicy, *,
    generator: generation.Generator | None = None, kept: Path | None = None, remembered: int | None = None,
) -> Iterator[Production]:  # fmt: skip
    """Open generator and judges, and look at the person's photos.

    Args:
        params: the sections that say how pictures are drawn and judged.
        machine: what draws and judges.
        recipe: what they are drawn with.
        subject_sha256: of the card under which it is done; whoever opens a production has checked the card.
        policy: what it says to prompts.
        generator: one that is open already; None: the one that the settings name.
        kept: folder of drawn pictures that survives an interruption; None: none does.
        remembered: accepted pictures among which near-duplicates are looked for, the newest; None: all.

    Raises:
        UserError: when weights, photos or the manifest are missing.
    """
    batch = params.batch
    generator = generator or open_generator(batch.backend, machine, batch.micro_batch, params.comfyui)
    instruments, safety = open_instruments(params.judges, machine), open_safety_judge(params.policy, machine)
    real = measure_real(params, read_manifest(), instruments)
    with TemporaryDirectory(prefix="pistachio-") as own:
        yield Production(
            params, recipe, subject_sha256, policy, generator, instruments, safety, real, kept=kept or Path(own),
            remembered=remembered, beside=draws_elsewhere(batch.backend, machine),
        )  # fmt: skip
