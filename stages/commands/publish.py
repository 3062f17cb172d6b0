"""`pistachio review`, `serve`, `trace`, `inspect` and `stamp`: the commands of publish/."""

from typing import Annotated

import typer

from stages.commands.beside import PLAIN, AsTyped, hand_over

COMMANDS = {
    "review": "Look at a batch's pictures and vote by keyboard, on a local page.",
    "serve": "Draw pictures over HTTP, for a chatbot or a site.",
    "trace": "Say where a picture comes from: prompt, seed, LoRA, photos and subject card.",
    "inspect": "Check the signature and the marking of a picture.",
    "stamp": "Give the approved pictures of a batch their passports.",
}


def add_commands(app: typer.Typer) -> None:
    """Every command of publish/, with the words as they were typed."""
    for name, says in COMMANDS.items():
        app.command(name, cls=AsTyped, context_settings=PLAIN, help=says)(_handing_over)


def _handing_over(
    context: typer.Context, arguments: Annotated[list[str] | None, typer.Argument(metavar="...")] = None
) -> None:
    hand_over("publish", [str(context.info_name), *context.meta["typed"]])
