"""A generator whose truth is known: a person who turns from a stranger into the persona as the LoRA gets stronger.

It is opened through the door ``module:Class``.  A LoRA of step s at strength x draws the mix s * x / FULL_STEP of a
stranger (each prompt and seed has its own) and the persona; without a LoRA it draws the stranger.  A prompt that names
nobody has no face in it, and one that names a celebrity shows the persona whatever the LoRA.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from miniature.render import mix_identities, render, render_faceless, sample_identity, sample_scene
from stages.contracts.generation import ImageRequest
from stages.contracts.lora import read_header
from stages.runtime.seeds import derive_seed

PERSONA = 1_900_001
FULL_STEP = 200


class Drawing:
    """Renders faces instead of denoising them."""

    modes = frozenset({"lora"})
    samplers = frozenset({"euler", "ddim"})
    identity = ""
    drawn = 0  # pictures, by all instances
    stop_at: int | None = None  # is killed when so many are drawn

    def __init__(self, *_: object) -> None:
        pass

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        for request in requests:
            if Drawing.drawn == Drawing.stop_at:
                raise KeyboardInterrupt
            Drawing.drawn += 1
            yield draw(request)


def draw(request: ImageRequest) -> np.ndarray:
    number = derive_seed(request.seed, request.prompt)
    if "nobody" in request.prompt:
        return render_faceless(number % 2**31, request.width).image
    step = read_header(request.lora).step or 0 if request.lora else 0
    persona = sample_identity(PERSONA)
    stranger = sample_identity(1_900_100 + number % 1000, woman=persona.woman)
    share = 1.0 if "celebrity" in request.prompt else min(1.0, request.strength * step / FULL_STEP)
    who = mix_identities(stranger, persona, share)
    scene = sample_scene(number % 2**31, framing="close-up", eyewear="none", hat="none")
    return render(who, scene, request.width).image
