"""Draw pictures for a flow: each once, written as it comes, and found again by a run that goes on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.generate import generate_files
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.settings import Draw, Machine
from stages.runtime.behind import Behind
from stages.runtime.errors import UserError
from stages.runtime.files import replacing
from stages.runtime.pictures import encode_png, read_picture
from stages.runtime.provenance import describe_code, hash_json

WAITING = 16  # pictures that may wait to be written: memory, never a number


@dataclass(frozen=True)
class Shot:
    """One picture to draw: how, what it should show in words that a judge knows, and where it goes."""

    request: ImageRequest
    prompt_index: int
    shows: str
    path: Path


def draw(generator: Generator, shots: Sequence[Shot], kept: Path) -> Iterator[np.ndarray]:
    """Draw and pass on each picture as it comes; what lies in ``kept`` already is not drawn again.

    The files are written beside the drawing, in order; all of them are there when the last picture has been taken.
    """
    requests = [shot.request for shot in shots]
    places = [place_of(request, kept) for request in requests]
    yield from draw_missing(generator, requests, places, [(shot.path,) for shot in shots])


def draw_missing(
    generator: Generator,
    requests: Sequence[ImageRequest],
    places: Sequence[Path],
    copies: Sequence[tuple[Path, ...]] | None = None,
) -> Iterator[np.ndarray]:
    """Every request's picture, uint8 (H, W, 3) RGB, in order: read from its place, or drawn and written there.

    ``copies`` says where else each is written.  Files are written beside the drawing, in order.
    """
    copies = copies or [()] * len(requests)
    # A request that is asked for twice is drawn once: the second time its picture lies there already.
    missing = {place: request for request, place in zip(requests, places, strict=True) if not place.exists()}
    drawn = iter(generate_files(generator, list(missing.values())))
    with Behind(WAITING) as behind:
        for place, others in zip(places, copies, strict=True):
            if place in missing:  # drawn even where somebody else wrote it meanwhile: the drawings come in order
                del missing[place]
                image, file = next(drawn)
                behind.do(_write, image, file, place, *others)
            else:
                behind.wait()  # it may be one of those that are being written
                image = read_picture(place)
                behind.do(_write, image, None, *others)
            yield image


def draws_elsewhere(backend: str, machine: Machine) -> bool:
    """Whether pictures come from a GPU of this process, so that its CPU can judge those that are there meanwhile.

    On a CPU both would share the cores; workers of a Ray cluster and ComfyUI servers draw ahead by themselves.
    """
    return machine.device != "cpu" and machine.ray_address is None and backend != "comfyui"


def _write(image: np.ndarray, file: bytes | None, *paths: Path) -> None:
    """One picture into several files, encoded once, unless it is already: ``file``."""
    data = (file or encode_png(image)) if paths else b""
    for path in paths:
        with replacing(path) as beside:
            beside.write_bytes(data)


def place_of(request: ImageRequest, kept: Path) -> Path:
    """Where the picture of a request is kept, whatever will be made of it."""
    return kept / f"{hash_json(describe_request(request))}.png"


def describe_request(request: ImageRequest) -> dict[str, Any]:
    return {name: value.as_posix() if isinstance(value, Path) else value for name, value in vars(request).items()}


def check_can_draw(generator: Generator, shots: Iterable[Shot]) -> None:
    """Refuse what cannot be drawn before anything is.

    Raises:
        UserError: naming an unknown mode or sampler, or a model file that is missing.
    """
    for request in dict.fromkeys(replace(shot.request, prompt="", seed=0) for shot in shots):
        check_drawable(generator, request.mode, request.sampler, request.base, request.lora)


def check_drawable(generator: Generator, mode: str, sampler: str, base: Path, lora: Path | None) -> None:
    """Refuse settings that cannot be drawn with.

    Raises:
        UserError: naming an unknown mode or sampler, or a model file that is missing.
    """
    for kind, value, known in (("mode", mode, generator.modes), ("sampler", sampler, generator.samplers)):
        if value not in known:
            raise UserError(kind, f"{value!r} is not known to this backend", f"it knows {', '.join(sorted(known))}")
    if not base.exists():
        raise UserError(base, "no such base model", "put it there, or name another")
    if lora is not None and not lora.is_file():
        raise UserError(lora, "no such LoRA file", "run `dvc repro train`")


def describe_drawer(worker: type, identity: str, settings: Draw, machine: Machine) -> list[Any]:
    """Who draws, as far as that may change a pixel: ``drawer_of`` the generator, and its ``identity``."""
    code = describe_code(worker)
    return [settings.backend, settings.micro_batch, machine.device, machine.compile, machine.threads, code, identity]
