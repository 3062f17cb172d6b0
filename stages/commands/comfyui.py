"""`pistachio comfyui`: look after ComfyUI servers, draw one picture with a workflow; `pistachio parity`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stages.backends.generate.comfyui.server import Server

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Check ComfyUI servers, keep their workflows and history, draw one picture.

The servers are those of machine.comfyui_urls in params.yaml.  docs/comfyui.md

\b
Examples:
  pistachio comfyui check
  pistachio comfyui workflows pull
  pistachio comfyui history export
""",
)
workflows = typer.Typer(no_args_is_help=True, help="Copy the editor's workflows from a server, or back to it.")
history = typer.Typer(no_args_is_help=True, help="Keep what a server remembers of its prompts.")
app.add_typer(workflows, name="workflows")
app.add_typer(history, name="history")

SAVED = Path("conf/editor_workflows")  # not in conf/workflows, on which sweep and eval depend
Url = Annotated[str | None, typer.Option(help="Address of the server; default the first of machine.comfyui_urls.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Folder = Annotated[Path, typer.Argument(help="Folder of the workflows.")]


def _open(url: str | None) -> "Server":
    from stages.backends.generate.comfyui.server import Server
    from stages.contracts.settings import read_machine

    return Server(url.rstrip("/") if url else read_machine().comfyui_urls[0])


def _tell(changes: Iterable[tuple[str, str]]) -> list[str]:
    """Print each name with what became of it; what became of them."""
    states = []
    for name, state in changes:
        typer.echo(f"{state}\t{name}")
        states.append(state)
    return states


@app.command()
def check(as_json: Json = False) -> None:
    """Ask every server whether it has all that sweep and eval take: nodes, models, LoRA folder, room on its disk.

    Exit code 1 when something is missing.

    \b
    Examples:
      pistachio comfyui check
      pistachio comfyui check --json | jq '.[] | select(.ok | not)'
    """
    from stages.contracts.settings import ComfyUI, Eval, Section, Sweep, read_machine, read_params
    from stages.flows.comfyui_check import Wanted, examine
    from stages.reports.comfyui import print_findings
    from stages.reports.terminal import print_json

    class Params(Section):
        sweep: Sweep
        eval: Eval
        comfyui: ComfyUI

    params = read_params(Params)
    found = [vars(finding) for finding in examine(read_machine(), params.comfyui, Wanted.of(params.sweep, params.eval))]
    print_json(found) if as_json else print_findings(found)
    raise typer.Exit(0 if all(finding["ok"] for finding in found) else 1)


@workflows.command()
def pull(folder: Folder = SAVED, url: Url = None) -> None:
    """Copy every workflow that was saved in the server's editor to a folder that git keeps.

    \b
    Examples:
      pistachio comfyui workflows pull
      git add conf/editor_workflows && git commit -m "Keep the pod's workflows"
    """
    from stages.flows.comfyui_care import pull_workflows

    if not _tell(pull_workflows(_open(url), folder)):
        typer.echo("the server has no saved workflows")


@workflows.command()
def push(
    folder: Folder = SAVED,
    url: Url = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace workflows that differ there.")] = False,
) -> None:
    """Copy workflows to a server, for example a new pod; what differs there is kept unless --overwrite is given.

    Exit code 1 when something was kept.

    \b
    Examples:
      pistachio comfyui workflows push --url http://127.0.0.1:8188
    """
    from stages.flows.comfyui_care import push_workflows

    if "kept" in _tell(push_workflows(_open(url), folder, overwrite=overwrite)):
        typer.echo("kept: other files of these names are there; --overwrite replaces them", err=True)
        raise typer.Exit(1)


@history.command()
def export(
    output: Annotated[Path, typer.Option(help="File that the prompts are added to, one JSON line each.")] = Path(
        "logs/comfyui_history.jsonl"
    ),
    url: Url = None,
) -> None:
    """Add what the server remembers to a file; a restart makes it forget everything.

    \b
    Examples:
      pistachio comfyui history export
    """
    from stages.flows.comfyui_care import export_history

    new, there = export_history(_open(url), output)
    typer.echo(f"{new} new prompts, {there} in {output}")


@app.command()
def nodes(url: Url = None, as_json: Json = False) -> None:
    """List the server's custom nodes with the commits of their git repositories.

    \b
    Examples:
      pistachio comfyui nodes
      pistachio comfyui nodes --json > conf/nodes.json
    """
    from stages.flows.comfyui_care import list_custom_nodes
    from stages.reports.comfyui import print_nodes
    from stages.reports.terminal import print_json

    found = [vars(node) for node in list_custom_nodes(_open(url))]
    print_json(found) if as_json else print_nodes(found)


@app.command()
def samplers() -> None:
    """Say what each sampler of the settings is in ComfyUI, and where the pictures are not the same; as Markdown.

    \b
    Examples:
      pistachio comfyui samplers
    """
    from stages.reports.comfyui import render_samplers

    typer.echo(render_samplers())


@app.command()
def draw(
    prompt: Annotated[str, typer.Argument(help="What to draw; {trigger} and {class_word} are filled in.")],
    output: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("drawn.png"),
    workflow: Annotated[Path | None, typer.Option(help="Graph in API format; default that of mode lora.")] = None,
    lora: Annotated[Path | None, typer.Option(help="LoRA file; default the trained one, where there is one.")] = None,
    strength: Annotated[float, typer.Option(help="What the LoRA is multiplied by.", min=0, max=2)] = 1.0,
    image: Annotated[Path | None, typer.Option(help="Picture to change (a workflow with @image).")] = None,
    mask: Annotated[Path | None, typer.Option(help="What of it to change: white (a workflow with @mask).")] = None,
    denoise: Annotated[float, typer.Option(help="How much of it to change.", min=0, max=1)] = 1.0,
    negative: Annotated[str, typer.Option(help="What not to show.")] = "",
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """Draw one picture, with the sweep's first settings; with conf/workflows/inpaint.json, change a part of one.

    \b
    Examples:
      pistachio comfyui draw "{trigger}, a {class_word}, smiling"
      pistachio comfyui draw "{trigger}, a {class_word}" --workflow conf/workflows/inpaint.json \\
        --image beach.png --mask face.png --denoise 0.6 --output beach_amira.png
    """
    from stages.flows.comfyui_drawing import Wish, draw_one

    wish = Wish(prompt, workflow, lora, strength, image, mask, denoise, negative, seed)
    width, height = draw_one(wish, output)
    typer.echo(f"{output}: {width}x{height}")


def parity(
    count: Annotated[int, typer.Option(help="How many pictures.", min=1)] = 2,
    lora: Annotated[Path | None, typer.Option(help="LoRA file; default the trained one, where there is one.")] = None,
    output: Annotated[Path, typer.Option(help="The pictures side by side.")] = Path("logs/parity.png"),
    as_json: Json = False,
) -> None:
    """Draw the same pictures with diffusers and with ComfyUI and say how far apart they are, and why.

    The sweep's first base, sampler, guidance and strength.  Where they differ, diffusers draws again with one suspect
    at a time done otherwise: spacing, prediction, LoRA's scale, negative prompt, precision; exit code 1.

    \b
    Examples:
      pistachio parity
      pistachio parity --lora models/lora/amiranoor.safetensors --count 4
    """
    from stages.flows.comfyui_drawing import plan_parity
    from stages.flows.parity import compare_backends
    from stages.reports.comfyui import print_parity, show_parity
    from stages.reports.terminal import print_json
    from stages.runtime.pictures import write_png

    requests, machine, comfyui = plan_parity(count, lora)
    found = compare_backends(requests, machine, comfyui, lambda text: typer.echo(text, err=True))
    write_png(output, show_parity(found.comfyui, found.diffusers))
    if as_json:
        print_json({"same": found.same, "verdict": found.verdict, "trials": [vars(trial) for trial in found.trials]})
    else:
        print_parity([vars(trial) for trial in found.trials], found.verdict, output)
    raise typer.Exit(0 if found.same else 1)
