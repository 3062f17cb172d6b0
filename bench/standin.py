"""A generator that draws next to nothing: a rendered person, shifted by the seed (`bench.standin:Standin`)."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from miniature.places import DEVELOPMENT
from miniature.render import render, sample_identity, sample_scene
from stages.contracts.generation import ImageRequest
from stages.runtime.seeds import derive_seed

SCENES = 16


class Standin:
    """Draws one of a few rendered faces, its brightness and place the request's own."""

    modes = frozenset({"lora"})
    samplers = frozenset({"ddim", "euler"})
    identity = "bench.standin"

    def __init__(self, *_: object) -> None:
        pass

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        """One uint8 (H, W, 3) picture per request, in order."""
        return (draw(request) for request in requests)


@cache
def _scene(number: int, side: int) -> np.ndarray:
    scene = sample_scene(number, framing="close-up", eyewear="none", hat="none")
    return render(sample_identity(DEVELOPMENT.start), scene, side).image


def draw(request: ImageRequest) -> np.ndarray:
    """A picture that only this prompt, seed, strength and guidance have."""
    number = derive_seed(request.seed, request.prompt, request.strength, request.guidance)
    shift, light = number // SCENES % 5 - 2, number // 80 % 16
    picture: np.ndarray = np.roll(_scene(number % SCENES, request.width), shift, axis=1) // 16 * 15 + np.uint8(light)
    return picture
