"""Work shared among processes that a Ray cluster keeps, on this machine or on many.  Nothing else here imports ray."""

from typing import TYPE_CHECKING

from stages.contracts.settings import Machine

if TYPE_CHECKING:
    from stages.backends.crew.crew import Crew

_opened: dict[tuple[object, ...], "Crew"] = {}  # at most one: Ray knows one cluster per process


def open_crew(machine: Machine) -> "Crew":
    """The workers that ``machine.ray_address`` names, kept until the program ends; they start when they are needed.

    Raises:
        UserError: when Ray is not installed, or no cluster answers at the address.
    """
    wanted = (machine.ray_address, machine.ray_workers, machine.device, machine.threads)
    if wanted not in _opened:
        from stages.backends.crew.cluster import prepare_ray

        prepare_ray(machine.ray_address)
        from stages.backends.crew.crew import Crew

        for crew in _opened.values():
            crew.close()
        _opened.clear()
        _opened[wanted] = Crew(machine)
    return _opened[wanted]


def as_worker(machine: Machine) -> Machine:
    """The machine that a worker believes in: no crew of its own, and the one GPU that Ray lets it see."""
    device = "cuda" if machine.device.startswith("cuda") else machine.device
    return machine.model_copy(update={"ray_address": None, "ray_workers": None, "device": device})
