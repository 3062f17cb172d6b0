"""`pistachio models`: the weights that conf/models knows."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""List, fetch and verify the weights that profiles name (conf/models/).

\b
Examples:
  pistachio models list
  pistachio models get --profile rtx4090_24gb
  pistachio models verify
""",
)

Names = Annotated[list[str] | None, typer.Argument(help="Names of conf/models.", show_default=False)]
Profile = Annotated[str | None, typer.Option(help="All that conf/profile/PROFILE.yaml names.")]


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """List every model: its licence, its size, and whether it is here and was found to be right.

    \b
    Examples:
      pistachio models list
      pistachio models list --json | jq '.[] | select(.non_commercial)'
    """
    from stages.contracts.models import read_registry
    from stages.flows.models import look_at
    from stages.reports.models import print_models
    from stages.reports.terminal import print_json

    states = [look_at(name, model).model_dump(mode="json") for name, model in read_registry().items()]
    print_json(states) if as_json else print_models(states)


@app.command()
def get(
    names: Names = None,
    profile: Profile = None,
    everything: Annotated[bool, typer.Option("--all", help="All of conf/models.")] = False,
    mirror: Annotated[
        str | None, typer.Option(envvar="PISTACHIO_MIRROR", help="Address of a folder laid out as models/.")
    ] = None,
    local: Annotated[Path | None, typer.Option("--from", help="Take the files from this file or folder.")] = None,
) -> None:
    """Fetch models to models/base/ and models/judges/, checked by their sha256.

    What breaks off is taken up again by the same command; a folder appears whole or not at all.  A token for the hub
    comes from HF_TOKEN alone, another endpoint from HF_ENDPOINT.

    \b
    Examples:
      pistachio models get --profile rtx4090_24gb
      pistachio models get stable-diffusion-xl-base-1.0 --mirror http://10.0.0.7:8000
      pistachio models get auraface --from ~/Downloads/glintr100.onnx
    """
    from stages.contracts.models import read_registry
    from stages.flows.model_downloads import Origin, get_models
    from stages.flows.models import choose_models

    registry = read_registry()
    chosen = choose_models(registry, names or [], profile, everything)
    if not chosen:
        typer.echo(f"profile {profile} names no model of conf/models: nothing to fetch")
    get_models({name: registry[name] for name in chosen}, Origin(mirror, local), typer.echo)


@app.command()
def verify(names: Names = None) -> None:
    """Hash what is here and compare it with conf/models; exit code 1 when something is missing or wrong.

    Without names: every model whose folder is here.

    \b
    Examples:
      pistachio models verify
      pistachio models verify antelopev2
    """
    from stages.contracts.models import read_registry
    from stages.flows.models import choose_models, verify_model

    registry = read_registry()
    here = [name for name, model in registry.items() if model.folder.is_dir()]
    wrong = False
    for name in choose_models(registry, names, None, False) if names else here:
        problems, unpinned = verify_model(name, registry[name])
        for problem in problems:
            typer.echo(problem)
        if unpinned:
            typer.echo(f"{name}: not pinned, so nothing to compare with: {', '.join(unpinned)}")
        if not problems:
            typer.echo(f"{name}: {len(registry[name].files)} files, as conf/models says")
        wrong = wrong or bool(problems)
    if not names and not here:
        typer.echo("no model of conf/models is here")
    raise typer.Exit(1 if wrong else 0)
