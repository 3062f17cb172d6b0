"""Commands of the rooms beside stages/, which stages/ knows only as programs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

PLAIN = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


class AsTyped(TyperCommand):
    """Keeps every word: click itself takes ``--`` away, behind which a command of the user's own begins."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["typed"] = list(args)
        return super().parse_args(ctx, args)


def hand_over(room: str, words: Sequence[str]) -> NoReturn:
    """Become ``python -m room words``."""
    command = [sys.executable, "-m", room, *words]
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)  # so that a signal to this process is a signal to the command
    raise typer.Exit(subprocess.call(command))
