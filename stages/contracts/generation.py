"""One picture to draw, and what a face judge says about a picture: what flows and backends hand to each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class ImageRequest:
    """Everything that decides one picture."""

    prompt: str
    seed: int
    base: Path
    lora: Path | None  # None: the base model alone
    strength: float = 1.0
    mode: str = "lora"
    guidance: float = 5.0
    sampler: str = "euler"
    steps: int = 30
    width: int = 1024
    height: int = 1024
    negative_prompt: str = ""
    reference: Path | None = None  # photo that conditions the face, in modes that have one
    vae_tile: int | None = None  # px; None: decoded whole
    image: Path | None = None  # picture to change; None: an empty one
    mask: Path | None = None  # of ``image``: what is white changes
    denoise: float = 1.0  # share of the noise that ``image`` is given, 0..1


class Generator(Protocol):
    """Draws pictures.  The picture of a request depends on nothing but the request."""

    modes: frozenset[str]
    samplers: frozenset[str]

    @property
    def identity(self) -> str:
        """What else decides pictures, beside settings and code: workflows, versions of servers; mostly nothing."""
        ...

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        """Yield one uint8 (height, width, 3) RGB array per request, in order."""
        ...


@dataclass(frozen=True)
class Face:
    """The most prominent face of a picture."""

    box: np.ndarray  # float32 (4,) x0 y0 x1 y1, px
    landmarks: np.ndarray  # float32 (5, 2) px: left eye, right eye, nose, left and right mouth corner, as seen
    score: float  # the detector's, 0..1
    embedding: np.ndarray  # float32 (D,), unit length
    count: int = 1  # faces in the picture, this one among them


class FaceJudge(Protocol):
    """Finds and embeds faces."""

    def faces(self, images: Sequence[np.ndarray]) -> list[Face | None]:
        """The largest face of each uint8 (H, W, 3) RGB picture; None where none is found."""
        ...


class SecondJudge(Protocol):
    """Embeds faces that another judge has found, with weights of another family."""

    def embed(self, images: Sequence[np.ndarray], faces: Sequence[Face | None]) -> list[np.ndarray | None]:
        """Unit embeddings float32 (D,); None where there is no face."""
        ...


class TextImageJudge(Protocol):
    """Scores how well a picture follows its prompt, and how much two pictures show the same."""

    def adherence(self, images: Sequence[np.ndarray], prompts: Sequence[str]) -> np.ndarray:
        """Cosine similarity of picture i and prompt i: float32 (N,), -1..1 (CLIPScore without its scaling)."""
        ...

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """What each uint8 (H, W, 3) RGB picture shows: unit vectors float32 (N, D)."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """What each text says, comparable with pictures: unit vectors float32 (N, D)."""
        ...

    def choose(self, pictures_ND: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """How probable each text is for each embedded picture: float32 (N, T), every row sums to 1."""
        ...


class Captioner(Protocol):
    """Writes captions."""

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        """Yield one caption, without the trigger word, per uint8 (H, W, 3) RGB picture."""
        ...


class SafetyJudge(Protocol):
    """Says whether a picture shows what must not leave the house."""

    def flag(self, images: Sequence[np.ndarray]) -> list[float]:
        """How far each uint8 (H, W, 3) RGB picture lies above its limits; policy.threshold and more: out."""
        ...
