"""`pistachio init` and `pistachio upgrade`: a person's own workspace, and the code that it runs."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[Path, typer.Argument(help="The workspace: a new or empty folder, in no git repository.")],
    profile: Annotated[str, typer.Option(help="A file of conf/profile: mini, or a GPU's.")] = "mini",
    name: Annotated[str, typer.Option(help="Of the person; names the LoRA file.  [default: the folder's]")] = "",
    trigger: Annotated[str, typer.Option(help="Rare word that will mean the person.  [default: from the name]")] = "",
    class_word: Annotated[str | None, typer.Option(help="What the person is to the base model: woman, man.")] = None,
    photos: Annotated[Path | None, typer.Option(help="Folder of photos to copy, captions beside them too.")] = None,
) -> None:
    """Make a private workspace for one person: settings, pipeline and photos under git and DVC, without the code.

    \b
    Examples:
      pistachio init ../ada --photos ~/photos/ada --class-word woman
      pistachio init ../ada --profile rtx4090_24gb --name ada --trigger adalvlc
    """
    from stages.flows.workspace import NewWorkspace, make_workspace, name_of, trigger_of

    name = name or name_of(folder)
    new = NewWorkspace(name, trigger or trigger_of(name), class_word, profile, photos)
    make_workspace(folder, new)
    typer.echo(
        f"{folder}: the workspace of {new.name}, trigger word {new.trigger}; what to do next: {folder}/README.md"
    )


def upgrade() -> None:
    """Lock this workspace with the code that runs: dvc.yaml, code.lock and requirements.txt are written anew.

    conf/ stays as it is; `pistachio check` says whether it still fits.

    \b
    Examples:
      pistachio upgrade && git diff
    """
    from stages.flows.workspace import upgrade as upgrade_workspace

    changed = upgrade_workspace()
    typer.echo(f"stages that will run again: {', '.join(changed)}" if changed else "the same code in every stage")
