"""`pistachio prove-resume` and `pistachio memory`: what can be known of a training before it is begun."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def prove_resume(
    steps: Annotated[int, typer.Option(help="Length of the two trainings.", min=4)] = 40,
    kills: Annotated[int, typer.Option(help="How often the second one is killed.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Of the places where it is killed.")] = 0,
) -> None:
    """Train twice for a few steps, once undisturbed, once killed (kill -9) and resumed: are the bytes the same?

    Uses this workspace's own recipe, photos and base, and changes nothing in it.  Exit code 1 when the bytes differ.
    On a CPU they are the same; on a GPU some kernels may not repeat to the bit, and this command tells.

    \b
    Examples:
      pistachio prove-resume
      pistachio prove-resume --steps 200 --kills 10
    """
    from stages.flows.proof import prove_resume as prove
    from stages.reports.terminal import print_proof

    proof = prove(steps, kills, seed)
    print_proof(proof.killed_after, proof.resumed_at, proof.undisturbed, proof.killed)
    raise typer.Exit(0 if proof.holds else 1)


def memory(as_json: Json = False) -> None:
    """Count the device memory that a training with params.yaml needs, before a pod is rented for it.

    The count is made on the base's configuration alone (its weights need not be there) and takes no GPU.

    \b
    Examples:
      pistachio memory
    """
    from stages.backends.train.memory import estimate_memory
    from stages.contracts.settings import Section, Train, read_params
    from stages.reports.terminal import print_json, print_memory

    class Params(Section):
        train: Train

    parts = estimate_memory(read_params(Params).train)
    print_json(parts) if as_json else print_memory(parts)
