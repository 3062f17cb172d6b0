"""Draws on the workers of a Ray cluster, each with a generator of its own; the pictures are those of that generator."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from stages.backends.crew import as_worker, open_crew
from stages.backends.crew.task import Item, Task, hash_files
from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError
from stages.runtime.pictures import encode_png
from stages.runtime.provenance import describe_code

Drawn = list[tuple[np.ndarray, bytes]]  # pictures of a shard, uint8 (H, W, 3) RGB, each with its PNG file


class SharedGenerator:
    """See contracts.generation.Generator; ``local`` is what the workers have, and draws nothing here."""

    def __init__(self, local: Generator, backend: str, machine: Machine, micro_batch: int) -> None:
        self.local, self.machine, self.micro_batch = local, machine, micro_batch
        self.modes, self.samplers = local.modes, local.samplers
        arguments = (backend, as_worker(machine), micro_batch, describe_code(type(local)))
        self.task = Task("drawing", open_drawing, arguments)

    @property
    def identity(self) -> str:
        """The local one's: who draws is no reason to draw again."""
        return self.local.identity

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        """Check every request here, then have them drawn.

        Raises:
            UserError: what the local generator refuses, or a worker.
        """
        self.local.generate(requests)
        return (pixels for pixels, _ in self._drawn(requests))

    def generate_files(self, requests: Sequence[ImageRequest]) -> Iterator[tuple[np.ndarray, bytes]]:
        """``generate``, each picture with the bytes of its PNG file: workers have encoded it.

        Raises:
            UserError: as ``generate``.
        """
        self.local.generate(requests)
        return self._drawn(requests)

    def _drawn(self, requests: Sequence[ImageRequest]) -> Iterator[tuple[np.ndarray, bytes]]:
        if not requests:
            return
        shards = deal(requests, self.micro_batch)
        items = (Item([requests[n] for n in shard], self._files(requests[shard[0]])) for shard in shards)
        done = open_crew(self.machine).do(self.task, items)
        coming = iter(shards)
        ready: dict[int, tuple[np.ndarray, bytes]] = {}
        for number in range(len(requests)):
            while number not in ready:
                ready.update(zip(next(coming), next(done), strict=True))
            yield ready.pop(number)

    def _files(self, request: ImageRequest) -> tuple[tuple[Path, str], ...]:
        """Every file that the picture depends on."""
        named = (request.base, request.lora, request.reference, request.image, request.mask)
        return hash_files({path for path in named if path is not None})


def deal(requests: Sequence[ImageRequest], size: int) -> list[list[int]]:
    """Numbers of requests that may be drawn together, at most ``size`` in a shard; shards in the order of their first.

    They share everything but prompts and seed: models and settings.
    """
    shards: list[list[int]] = []
    begun: dict[ImageRequest, list[int]] = {}
    for number, request in enumerate(requests):
        alike = replace(request, prompt="", negative_prompt="", seed=0)
        if alike not in begun or len(begun[alike]) == size:
            begun[alike] = []
            shards.append(begun[alike])
        begun[alike].append(number)
    return shards


def open_drawing(backend: str, machine: Machine, micro_batch: int, code: str) -> Callable[[list[ImageRequest]], Drawn]:
    """On a worker: what draws a shard.

    Raises:
        UserError: when the backend is a class of the user's own, and its file another one than ``code`` says.
    """
    from stages.backends.generate import open_generator

    generator = open_generator(backend, machine, micro_batch)
    if describe_code(type(generator)) != code:
        raise UserError(backend, "is another class on a worker than here", "bring the same file there")

    def draw(requests: list[ImageRequest]) -> Drawn:
        pictures = list(generator.generate(requests))
        with ThreadPoolExecutor(machine.workers) as pool:  # at 1024 px encoding takes a good part of a second
            return list(zip(pictures, pool.map(encode_png, pictures), strict=True))

    return draw
