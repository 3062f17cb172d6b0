"""`pistachio serve`: pictures over HTTP, and the keys of those who may ask for them."""

from pathlib import Path
from typing import Annotated

import typer

serve = typer.Typer(invoke_without_command=True, no_args_is_help=False, rich_markup_mode="rich")
keys = typer.Typer(no_args_is_help=True, help="Who may ask: make, list and revoke API keys.")
serve.add_typer(keys, name="keys")


@serve.callback()
def start(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: serve.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: serve.port; 0: any free one.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Jobs and pictures; default: serve.output.")] = None,
    lora: Annotated[
        str | None, typer.Option(help="A promoted version or a .safetensors file; default: what the sweep chose.")
    ] = None,
) -> None:
    """Draw pictures over HTTP, for a chatbot or a site.

    Every picture passes the gate of `pistachio batch`, is marked and signed, and can be traced; rejected ones are never
    delivered.  The API's description is at /openapi.json, its metrics at /metrics; settings: section serve of
    params.yaml.  It ends at Ctrl-C; jobs that wait or run then go on at the next start.

    \b
    Examples:
      pistachio serve keys add chatbot           # prints the key, once
      pistachio serve
      curl -H "Authorization: Bearer $KEY" http://127.0.0.1:8765/v1/jobs \\
        --json '{"prompt": "{trigger}, a {class_word}, smiling"}'
    """
    if context.invoked_subcommand is not None:
        return
    from publish.serve.gates import WorkspaceGates
    from publish.serve.params import read_service_params
    from publish.serve.server import serve as run
    from publish.serve.server import worker_command
    from stages.contracts.settings import parse

    params = read_service_params()
    given = {"host": host, "port": port, "output": output_dir}
    settings = parse(
        type(params.serve),
        params.serve.model_dump() | {name: value for name, value in given.items() if value is not None},
        "the command line",
    )
    gates = WorkspaceGates(params.dataset, params.promotion.use, params.policy, params.machine)
    gates.check_subject()
    run(settings, gates, worker_command(settings.output, lora))


@keys.command("add")
def add(name: Annotated[str, typer.Argument(help="Whose key it is, e.g. chatbot.")]) -> None:
    """Make a key and print it, once: only its hash is kept.  The keys of one name see the same jobs.

    \b
    Example:
      pistachio serve keys add chatbot
    """
    from publish.serve.keys import add_key

    typer.echo(add_key(_key_file(), name))


@keys.command("list")
def show() -> None:
    """Show whose keys there are.

    \b
    Example:
      pistachio serve keys list
    """
    from publish.serve.keys import read_keys

    for key in read_keys(_key_file()):
        typer.echo(f"{key.name}  made {key.created}  {f'revoked {key.revoked}' if key.revoked else 'valid'}")


@keys.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Whose key ends.")]) -> None:
    """End a key at once, in a running server too.

    \b
    Example:
      pistachio serve keys revoke chatbot
    """
    from publish.serve.keys import revoke_key

    revoke_key(_key_file(), name)
    typer.echo(f"{name}: revoked")


def _key_file() -> Path:
    from publish.serve.keys import find_key_file
    from publish.serve.params import OnlyServe
    from stages.contracts.settings import read_params

    return find_key_file(read_params(OnlyServe).serve.keys)
