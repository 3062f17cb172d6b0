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


def trace(
    image: Annotated[Path, typer.Argument(help="The picture, or a copy of it from anywhere.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Say where a picture comes from: prompt, seed, LoRA, dataset, photos and subject card.

    By its pixels and content credentials; a copy that lost both (encoded again, made smaller, cropped, mirrored) by its
    looks, which data/published.jsonl remembers.  Exit code 0: traced; 1: not published here; 2: no picture.

    \b
    Examples:
      pistachio trace downloaded.jpg
      pistachio trace downloaded.jpg --json
    """
    from publish.passport.lines import render_trace
    from publish.passport.tracing import trace_picture
    from stages.contracts.settings import read_publish
    from stages.reports.terminal import print_json

    found = trace_picture(image, read_publish().trace)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        for line in render_trace(found):
            typer.echo(line)
    raise typer.Exit(1 if found.origin is None else 0)


def inspect(
    image: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Check the signature and the marking of a picture, and say who signed it and whether anybody vouches for them.

    Exit code 0: marked in C2PA and XMP, and signed as it is now; 1: not; 2: no picture.

    \b
    Examples:
      pistachio inspect output/batch/approved/0001.png
      pistachio inspect downloaded.jpg --json
    """
    from publish.passport.inspection import inspect_picture
    from publish.passport.lines import render_inspection
    from stages.contracts.settings import read_publish
    from stages.reports.terminal import print_json

    seen = inspect_picture(image, read_publish().trust)
    if as_json:
        print_json(seen.model_dump(mode="json") | {"marked": seen.marked, "sound": seen.sound})
    else:
        for line in render_inspection(seen):
            typer.echo(line)
    raise typer.Exit(0 if seen.sound else 1)
