"""`pistachio remote` and `pistachio fsck`: where objects are kept, and whether they are still what they were."""

from pathlib import Path
from typing import Annotated

import typer

remote = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Set up and try the remote that `dvc push` and `dvc pull` use.

Secrets come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE) or from .dvc/config.local,
which git ignores.

\b
Examples:
  pistachio remote add s3://BUCKET/ada --endpoint https://s3.example.com
  pistachio remote check
""",
)

Secret = Annotated[str | None, typer.Option(hidden=True)]


@remote.command()
def add(
    url: Annotated[str, typer.Argument(help="s3://BUCKET/FOLDER, ssh://HOST/PATH or a folder.")],
    endpoint: Annotated[str | None, typer.Option(help="Address of the S3 server, unless it is Amazon's.")] = None,
    name: Annotated[str, typer.Option(help="What to call it.")] = "storage",
    default: Annotated[bool, typer.Option("--default", help="Make it the default; the first one is.")] = False,
    access_key_id: Secret = None,
    secret_access_key: Secret = None,
    session_token: Secret = None,
    password: Secret = None,
) -> None:
    """Try a remote (list, write, read back, delete one small object), then write it to .dvc/config.

    When it does not work, one line says why (no credentials, wrong secret, no such bucket, no right, server down) and
    nothing is written.  No secret is taken, neither as an option nor in an address.

    \b
    Examples:
      pistachio remote add s3://BUCKET/ada --endpoint https://s3.example.com
      pistachio remote add ssh://backup.example.com/srv/ada --name nas
      pistachio remote add /mnt/disk/ada --name disk --default
    """
    from stages.flows.remotes import add_remote, describe_remote, refuse_secrets
    from stages.flows.storage import open_repo

    given = {"--access-key-id": access_key_id, "--secret-access-key": secret_access_key,
             "--session-token": session_token, "--password": password}  # fmt: skip
    refuse_secrets(url, endpoint, given)
    settings = describe_remote(url, endpoint)
    with open_repo() as repo:
        typer.echo(add_remote(repo, name.lower(), settings, default=default))


@remote.command()
def check(
    name: Annotated[str | None, typer.Argument(help="The remote.  [default: DVC's default]")] = None,
) -> None:
    """Try a remote as `remote add` does, and look for secrets in .dvc/config, which git keeps.

    \b
    Examples:
      pistachio remote check
      pistachio remote check nas
    """
    from stages.flows.remotes import check_remote
    from stages.flows.storage import choose_remote, open_repo
    from stages.runtime.errors import UserError

    with open_repo() as repo:
        chosen = choose_remote(repo, name)
        if chosen is None:
            raise UserError(".dvc/config", "no default remote", "pistachio remote add URL")
        typer.echo(check_remote(repo, chosen))


def fsck(
    remote: Annotated[str | None, typer.Option(help="The remote to check.  [default: DVC's default]")] = None,
    cache_only: Annotated[bool, typer.Option("--cache-only", help="Leave remotes alone.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Put good copies in the place of bad ones.")] = False,
    all_commits: Annotated[bool, typer.Option("--all-commits", help="Whatever any commit names.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Hash every object of DVC's cache, and every object in the remote that a committed version names.

    DVC trusts a truncated object in status, push and checkout.  Versions are HEAD, the tips of branches, tags and the
    commits that recorded metrics/versions; an object that HEAD names must be in the cache, one that any of them names
    in the remote.

    --repair takes the good copy from the other side, or from the workspace, hashes it, writes it whole and reads it
    back.  A damaged object without a good copy is moved to .dvc/tmp/fsck/damaged, in a remote to its folder damaged/:
    nothing is deleted, and DVC says that it is missing instead of trusting it.

    Exit code 0: all sound, or repaired; 1: problems are left; 2: bad input, no answer or a full disk.  An interrupted
    run is taken up where it was.

    \b
    Examples:
      pistachio fsck
      pistachio fsck --repair
      pistachio fsck --remote nas --all-commits --json
    """
    from stages.contracts.paths import PARAMS
    from stages.contracts.settings import Machine, read_machine
    from stages.flows.fsck import fsck as check_objects
    from stages.flows.storage import choose_remote, open_repo
    from stages.reports.fsck import render_fsck
    from stages.reports.terminal import print_json
    from stages.runtime.errors import UserError

    if cache_only and remote:
        raise UserError("--cache-only", "contradicts --remote", "say one of them")
    workers = (read_machine() if Path(PARAMS).exists() else Machine()).workers
    with open_repo() as repo:
        chosen = None if cache_only else choose_remote(repo, remote)
        report = check_objects(repo, chosen, workers, all_commits=all_commits, mend=repair)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        for line in render_fsck(report):
            typer.echo(line)
    raise typer.Exit(1 if report.left else 0)
