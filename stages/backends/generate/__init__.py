"""Who draws pictures: diffusers in this process or on workers, ComfyUI servers, or a class of the user's own."""

from collections.abc import Iterator, Sequence

import numpy as np

from stages.contracts.generation import Generator, ImageRequest
from stages.contracts.settings import ComfyUI, Machine
from stages.runtime.errors import UserError


def open_generator(backend: str, machine: Machine, micro_batch: int, comfyui: ComfyUI | None = None) -> Generator:
    """The generator that ``backend`` names; with ``machine.ray_address`` one that has its pictures drawn by workers.

    A class of the user's own is called with ``machine`` and ``micro_batch``.

    Raises:
        UserError: when the class is not usable, or the backend not with Ray.
    """
    if machine.ray_address is not None:
        if backend == "comfyui":
            what, todo = "is not for ComfyUI, whose servers share the pictures themselves", "name them in comfyui_urls"
            raise UserError("machine.ray_address", what, f"{todo}, and leave the address empty")
        from stages.backends.generate.shared import SharedGenerator

        return SharedGenerator(_open_here(backend, machine, micro_batch), backend, machine, micro_batch)
    return _open_here(backend, machine, micro_batch, comfyui)


def drawer_of(generator: Generator) -> type:
    """The class that draws, wherever it does: what a picture depends on."""
    from stages.backends.generate.shared import SharedGenerator

    return type(generator.local if isinstance(generator, SharedGenerator) else generator)


def generate_files(generator: Generator, requests: Sequence[ImageRequest]) -> Iterator[tuple[np.ndarray, bytes | None]]:
    """What ``generator.generate`` yields, each picture with the bytes of its PNG file where a worker has encoded it."""
    from stages.backends.generate.shared import SharedGenerator

    if isinstance(generator, SharedGenerator):
        return generator.generate_files(requests)
    return ((pixels, None) for pixels in generator.generate(requests))


def _open_here(backend: str, machine: Machine, micro_batch: int, comfyui: ComfyUI | None = None) -> Generator:
    match backend:
        case "diffusers":
            from stages.backends.generate.diffusers import DiffusersGenerator

            return DiffusersGenerator(machine, micro_batch)
        case "comfyui":
            from stages.backends.generate.comfyui.generator import ComfyGenerator

            return ComfyGenerator(machine, comfyui or ComfyUI())
        case door:
            from stages.backends.door import load_class

            generator: Generator = load_class("backend", door)(machine, micro_batch)
            return generator
