"""`pistachio pod`: the commands of pod/."""

from typing import Annotated

import typer

from stages.commands.beside import hand_over


def pod(
    context: typer.Context, arguments: Annotated[list[str] | None, typer.Argument(metavar="COMMAND ...")] = None
) -> None:
    """Look after the rented machine: startup, doctor, health, watch and more, the same as `python -m pod`.

    \b
    Examples:
      pistachio pod --help
      pistachio pod doctor
      pistachio pod health --wait 300
    """
    hand_over("pod", context.meta["typed"] or ["--help"])
