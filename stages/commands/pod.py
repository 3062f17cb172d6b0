"""`pistachio pod`: the commands of pod/, which stages/ knows only as a program."""

import os
import subprocess
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

PLAIN = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


class AsTyped(TyperCommand):
    """Keeps every word: click itself takes ``--`` away, behind which a command of the user's own begins."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["typed"] = list(args)
        return super().parse_args(ctx, args)


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
    command = [sys.executable, "-m", "pod", *(context.meta["typed"] or ["--help"])]
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)  # so that a signal to this process is a signal to the command
    raise typer.Exit(subprocess.call(command))
