"""`pistachio batch`: pictures for use."""

from pathlib import Path
from typing import Annotated

import typer


def batch(
    prompts: Annotated[
        list[Path] | None, typer.Option(help="File of prompts: text, .csv or .json.  Repeatable.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="A prompt; {trigger} and {class_word} are filled in.  Repeatable.")
    ] = None,
    lora: Annotated[
        str | None, typer.Option(help="A promoted version, or a .safetensors file.  [default: what the sweep chose]")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Pictures of each prompt.", min=1)] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="New folder, or the same batch's.  [default: data/batches/ID]")
    ] = None,
    until: Annotated[
        int | None, typer.Option(help="Draw one more picture of each prompt until so many are accepted ...", min=1)
    ] = None,
    most: Annotated[int | None, typer.Option("--max", help="... or so many are drawn.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Of all seeds.", min=0)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print batch.json.")] = False,
) -> None:
    """Draw pictures for use, judge every one, and file the good ones with a passport each.

    Without prompts those of params.yaml are drawn.  What is interrupted goes on where it was when it is asked for
    again.  Every rejected picture says why; batch_report.html shows them all.

    \b
    Examples:
      pistachio batch --until 50 --max 200 --output-dir fifty
      pistachio batch --prompts prompts.csv --lora v3 --count 4 --output-dir portraits
      pistachio batch --prompt "{trigger}, a {class_word}, smiling, in a cafe" --count 10
    """
    from stages.batch import main
    from stages.flows.production_prompts import Asked
    from stages.runtime.metering import on_the_meter
    from stages.runtime.turns import take_turn

    asked = Asked(tuple(prompts or ()), tuple(prompt or ()), lora, count, until, most, seed, output_dir)
    with take_turn(), on_the_meter("batch"):
        main(asked, as_json)
