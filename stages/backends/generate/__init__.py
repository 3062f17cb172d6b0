"""Who draws pictures: diffusers in this process, ComfyUI servers, or a class of the user's own."""

from stages.contracts.generation import Generator
from stages.contracts.settings import ComfyUI, Machine


def open_generator(backend: str, machine: Machine, micro_batch: int, comfyui: ComfyUI | None = None) -> Generator:
    """The generator that ``backend`` names; a class of the user's own is called with ``machine`` and ``micro_batch``.

    Raises:
        UserError: when the class is not usable.
    """
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
