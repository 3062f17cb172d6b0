"""`pistachio compare` and `pistachio replicate`: what is known of any two runs, and how much of it is luck."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    baseline: Annotated[str, typer.Argument(help="A version, a workspace's folder (. is this one) or a git revision.")],
    candidate: Annotated[str, typer.Argument(help="The same, of what is to be judged.")],
    output: Annotated[Path | None, typer.Option(help="Write the whole report as Markdown, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare any two runs of the history, pair by pair: same prompts, seeds and starting noise.

    IMPROVED, REGRESSED, EQUIVALENT (the whole interval within compare.equivalence) or INCONCLUSIVE, with how many more
    pictures would settle it. Where a version has replicas, its recipe is judged beside its LoRA. Settings: compare and
    thresholds of this workspace's params.yaml.

    \b
    Examples:
      pistachio compare v2 v3
      pistachio compare v3 .             # what lies in metrics/ now
      pistachio compare HEAD~3 HEAD
      pistachio compare v3 ../other --output difference.md
    """
    from stages.compare import check_settings, compare_versions
    from stages.contracts.settings import Compare, Section, Thresholds, read_params
    from stages.flows.runs import check_protocols, find_run, read_run
    from stages.reports.comparison import render_comparison
    from stages.reports.terminal import print_json, print_verdicts
    from stages.runtime.files import write_text

    class Params(Section):
        compare: Compare
        thresholds: Thresholds = Thresholds()

    params = read_params(Params)
    check_settings(params.compare)
    runs = []
    for name in (baseline, candidate):
        with find_run(name) as folder:
            runs.append(read_run(folder, name, params.thresholds.face_pass))
    check_protocols(*runs)
    comparison = compare_versions(runs[0], runs[1], params.compare)
    if output is not None:
        write_text(output, render_comparison(comparison))
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        print_verdicts(comparison)


def replicate(
    name: Annotated[str, typer.Argument(help="A promoted version, for example v3.")],
    seeds: Annotated[int, typer.Option(help="How many trainings beside the version's own.", min=1, max=100)] = 3,
    workspace: Annotated[
        Path, typer.Option(help="Folder that holds the version's run, photos and base.", exists=True, file_okay=False)
    ] = Path(),
) -> None:
    """Train a version's recipe again with other seeds: train, sweep and eval, each like the version's own.

    Its scores go to metrics/versions/NAME/replicas; from then on `compare` judges the recipe beside the LoRA. Nothing
    else in the workspace changes. A killed run continues with the same command. Each takes as long as the first.

    \b
    Examples:
      pistachio replicate v3
      pistachio replicate v2 --seeds 2 --workspace ../v2    # git worktree add ../v2 lora/v2, and dvc checkout there
    """
    from stages.contracts.paths import VERSIONS
    from stages.flows.replicas import replicate as make_replicas
    from stages.reports.terminal import print_replica

    for number, (folder, known) in enumerate(make_replicas(name, seeds, workspace), start=1):
        print_replica(folder, number, seeds, known=known)
    typer.echo(f"next: git add {(VERSIONS / name).as_posix()} and commit; `compare` now judges the recipe too")
