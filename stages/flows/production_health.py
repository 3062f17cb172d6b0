"""Is everything there that a batch needs?  Asked before anything is written or drawn."""

from pathlib import Path

from stages.contracts.generation import Generator
from stages.contracts.settings import ComfyUI, Machine
from stages.flows.comfyui_check import Wanted, list_comfyui_problems
from stages.flows.drawing import check_drawable
from stages.flows.production_recipe import Recipe
from stages.runtime.errors import UserError


def check_backend(backend: str, generator: Generator, recipe: Recipe, machine: Machine, comfyui: ComfyUI) -> None:
    """Refuse when the backend is not there, or cannot draw with the recipe.

    Raises:
        UserError: naming what is missing, of every ComfyUI server at once.
    """
    cell = recipe.cell
    check_drawable(generator, cell.mode, cell.sampler, Path(cell.base), Path(cell.lora))
    if backend != "comfyui":
        return
    problems = list_comfyui_problems(machine, comfyui, Wanted((Path(cell.base),), (cell.mode,), (cell.sampler,)))
    if problems:
        raise UserError("batch", "; ".join(problems), "start ComfyUI, or mend it: pistachio comfyui check")
