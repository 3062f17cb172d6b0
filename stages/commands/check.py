"""`pistachio check`: everything that can be known to be wrong before DVC deletes anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def check(
    context: typer.Context,
    params: Annotated[Path, typer.Option(help="The file to check.")] = Path("params.yaml"),
    settings: Annotated[bool, typer.Option("--settings", help="Keys and values, not the files they name.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are problems too.")] = False,
) -> None:
    """Validate params.yaml, find every folder that it names, read every photo, and ask the guardrails.

    One line per problem; exit code 2 when there is one. A full disk, a folder that cannot be written and a stage
    that is at work are problems too. The guardrails look at packages, scripts, references, thresholds, hashes and
    pages; photos that changed since the manifest and old facts are warnings. docs/unattended.md

    \b
    Examples:
      pistachio check
      pistachio check --settings      # on a machine without models and photos
      pistachio check --strict        # before an unattended run
    """
    from stages.flows.check import list_problems
    from stages.flows.guardrails import find_problems_of
    from stages.runtime.errors import one_line

    problems = list_problems(params, files=not settings)
    guarded = find_problems_of(Path(), refusal_of(context.find_root().command), files=not settings)
    problems += guarded.problems
    for line in guarded.warnings:
        typer.echo(f"{'error' if strict else 'warning'}: {one_line(line)}", err=True)
    for line in problems:
        typer.echo(f"error: {one_line(line)}", err=True)
    if problems or (strict and guarded.warnings):
        raise typer.Exit(2)
    typer.echo(f"{params}: all is well")


def refusal_of(program: Any) -> Callable[[list[str]], str]:
    """Why the words behind ``pistachio`` are no command of ``program`` (click's), or name an option that it lacks."""

    def refuse(words: list[str]) -> str:
        command, rest = program, list(words)
        while commands := getattr(command, "commands", None):
            if not rest or rest[0].startswith(("-", "[", "...")) or rest[0].isupper():
                return ""
            if rest[0] not in commands:
                return "" if command.name == "caption" else f"no command {rest[0]}"  # caption DIR is caption write DIR
            command = commands[rest.pop(0)]
        if command.context_settings.get("ignore_unknown_options"):  # passed on: `pistachio pod`
            return ""
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
        strange = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
        return f"no option {strange[0]}" if strange else ""

    return refuse
