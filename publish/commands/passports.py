"""`python -m publish stamp`, `trace` and `inspect`: passports of published pictures."""

from pathlib import Path
from typing import Annotated

import typer


def stamp(
    folder: Annotated[Path, typer.Argument(help="A batch's folder, or any folder of pictures with records.")],
) -> None:
    """Give every approved picture of a batch its passport: marking, signed content credentials, a row in the index.

    A picture that has it already is left alone, so an interrupted run is taken up where it was.  Pictures that their
    record rejects, or whose pixels are not their record's, are named and left as they are (exit code 2).

    \b
    Examples:
      pistachio stamp output/batch
      pistachio stamp output/batch/approved
    """
    from publish.passport.stamping import open_issuer, stamp_folder
    from stages.contracts.settings import read_publish

    count = stamp_folder(folder, open_issuer(read_publish()))
    typer.echo(f"{folder}: {count} pictures with passports")


def trace() -> None:
    """Say where a picture comes from."""


def inspect() -> None:
    """Check signature and marking."""
