"""`pistachio findings`: keep what a run taught."""

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Keep what runs taught in docs/findings.md, and what to do in docs/tasks.md.

\b
Examples:
  pistachio findings promote
""",
)


@app.callback()
def group() -> None:
    """Commands of this group."""


@app.command()
def promote(
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and write nothing.")] = False,
) -> None:
    """Reduce this run's briefing to findings and tasks: regressions, raised flags, warnings, advice.

    What is there already is not added again; a ticked task is opened when a later run finds it again. The difference
    is shown first; exit code 1 when it is not wanted.

    \b
    Examples:
      pistachio findings promote --dry-run
      pistachio findings promote --yes
    """
    from stages.contracts.briefing import FINDINGS, TASKS
    from stages.flows.briefing import read_briefing
    from stages.reports.briefing import merge_findings, merge_tasks, show_change
    from stages.runtime.files import write_text

    briefing = read_briefing()
    changes = []
    for path, merge in ((FINDINGS, merge_findings), (TASKS, merge_tasks)):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = merge(before, briefing) if briefing.findings else before
        if after != before:
            typer.echo(show_change(before, after, path.as_posix()), nl=False)
            changes.append((path, after))
    if not changes:
        typer.echo(f"run {briefing.run}: {len(briefing.findings)} findings, nothing new")
        return
    if dry_run:
        return
    if not yes and not typer.confirm("write this?", default=False):
        raise typer.Exit(1)
    for path, after in changes:
        write_text(path, after)
    written = " and ".join(path.as_posix() for path, _ in changes)
    typer.echo(f"run {briefing.run}: {len(briefing.findings)} findings; written: {written}")
