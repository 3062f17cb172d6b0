"""The `pistachio` command: what a person does beside `dvc repro`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.commands import (
    batch,
    caption,
    check,
    comfyui,
    findings,
    models,
    pod,
    publish,
    storage,
    subject,
    training,
    versions,
)
from stages.commands import workspace as workspaces
from stages.commands.beside import PLAIN, AsTyped
from stages.runtime.entry import program

if TYPE_CHECKING:
    from stages.contracts.manifest import Manifest

# Everything else is imported inside the commands: `pistachio --help` must not wait for numpy.

app = typer.Typer(
    name="pistachio",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    help="""Reproducible identity-LoRA experiments on SDXL.

[bold]dvc repro[/] runs the pipeline: caption, manifest, regularize, train, sweep, eval, compare.
These commands do the rest, in the workspace: the folder with params.yaml.


A day's work:
  pistachio check        is everything there, and can every photo be used?
  dvc repro
  pistachio where        what came out, and where it lies
  pistachio promote v3   this one is good: keep it as a version
  pistachio history      what was promoted, when and why
""",
)

app.add_typer(caption.app, name="caption")
app.add_typer(models.app, name="models")
app.add_typer(comfyui.app, name="comfyui")
app.add_typer(findings.app, name="findings")
app.add_typer(subject.app, name="subject")
app.command()(check.check)
app.command()(batch.batch)
app.add_typer(storage.remote, name="remote")
app.command()(storage.fsck)
app.command()(workspaces.init)
app.command()(workspaces.upgrade)
app.command()(versions.compare)
app.command()(versions.replicate)
app.command()(comfyui.parity)
app.command("prove-resume")(training.prove_resume)
app.command()(training.memory)
app.command(cls=AsTyped, context_settings=PLAIN)(pod.pod)
publish.add_commands(app)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def where() -> None:
    """Say what the pipeline made and where it lies, the grade and the recommendation first.

    \b
    Examples:
      pistachio where
    """
    from stages.contracts.comparison import read_comparison
    from stages.contracts.manifest import read_manifest
    from stages.contracts.paths import COMPARISON, MANIFEST, SCORECARD
    from stages.contracts.scorecard import read_scorecard
    from stages.reports.terminal import print_advice, print_artifacts, print_comparison, print_scorecard

    print_artifacts()
    if MANIFEST.exists():
        print_advice(read_manifest().summary.advice)
    if SCORECARD.exists():
        print_scorecard(read_scorecard())
    if COMPARISON.exists():
        print_comparison(read_comparison())


@app.command()
def promote(
    name: Annotated[str, typer.Argument(help="The version's name, for example v3.")],
    force: Annotated[bool, typer.Option("--force", help="Overrule the gate; needs --why.")] = False,
    why: Annotated[str, typer.Option("--why", help="Why the gate was overruled; goes into the history.")] = "",
    no_tag: Annotated[bool, typer.Option("--no-tag", help="Make no git tag lora/NAME.")] = False,
) -> None:
    """Keep what lies in metrics/ as a version: metrics/versions/NAME, a line of history and the git tag lora/NAME.

    The gate refuses a name that exists, a grade below thresholds.promotion_grade, a regression on a guarded metric,
    face judges that contradict each other or lie far apart, a raised flag, and a use (promotion.use) that a licence of
    base or judges forbids.

    \b
    Examples:
      pistachio promote v3
      pistachio promote v3 --force --why "the old one had a wrong licence"
    """
    from stages.contracts.settings import Promotion, Section, Thresholds, read_params
    from stages.flows.tags import check_tag, tag_version
    from stages.flows.versions import promote as promote_version
    from stages.reports.terminal import print_promotion

    class Params(Section):
        thresholds: Thresholds = Thresholds()
        promotion: Promotion = Promotion()

    if not no_tag:
        check_tag(name)
    params = read_params(Params)
    promoted = promote_version(name, params.thresholds, params.promotion, force=force, why=why)
    tag = "" if no_tag else tag_version(name)
    print_promotion(promoted.folder, promoted.row, promoted.pictures, promoted.licences, tag)


@app.command()
def history(as_json: Json = False) -> None:
    """List what was promoted, oldest first.

    \b
    Examples:
      pistachio history
      pistachio history --json | jq .
    """
    from stages.contracts.history import read_history
    from stages.reports.terminal import print_history, print_json

    rows = read_history()
    if as_json:
        print_json([row.model_dump(mode="json") for row in rows])
    else:
        print_history(rows)


@app.command()
def score(
    folder: Annotated[Path, typer.Argument(help="Pictures to score, read recursively.")],
    references: Annotated[Path, typer.Option(help="Folder of pictures of the person.")],
    threshold: Annotated[float | None, typer.Option(help="Cosine from which a picture passes.", min=-1, max=1)] = None,
    pack: Annotated[Path | None, typer.Option(help="InsightFace model pack, a folder.")] = None,
    detection_size: Annotated[int | None, typer.Option(help="Input of the detector, px, a multiple of 32.")] = None,
    as_json: Json = False,
) -> None:
    """Score any folder of pictures against reference pictures: similarity, pass rate, detection rate.

    Threshold and pack come from the command line, else from params.yaml, else from the schema's default.

    \b
    Examples:
      pistachio score renders/ --references photos/
      pistachio score renders/ --references photos/ --threshold 0.55 --json
      pistachio score renders/ --references photos/ --pack models/judges/buffalo_l
    """
    from stages.backends.faces import open_face_judge
    from stages.flows.folder_scores import choose_scoring, score_folder
    from stages.reports.terminal import print_json, print_scores

    chosen = choose_scoring(threshold, pack, detection_size)
    judge = open_face_judge(chosen.pack, chosen.machine)
    scores = score_folder(
        folder, references, judge, threshold=chosen.threshold, licence=chosen.pack.licence,
        workers=chosen.machine.workers,
    )  # fmt: skip
    if as_json:
        print_json(scores.model_dump(mode="json"))
    else:
        print_scores(scores)


@app.command()
def manifest(
    folder: Annotated[Path | None, typer.Argument(help="Folder of photos to describe.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write the manifest.")] = None,
    captions: Annotated[Path, typer.Option(help="Folder of the photos' captions.")] = Path("data/captions"),
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two manifests: what changed from A to B?", metavar="A B")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Has a file rotted since the manifest was written?")] = False,
    as_json: Json = False,
) -> None:
    """Describe a folder of photos, compare two manifests, or check a manifest against the files.

    Exit code 1 when --compare finds a difference or --verify finds rot.

    \b
    Examples:
      pistachio manifest data/photos --output data/manifest.json
      pistachio manifest --compare old.json data/manifest.json
      pistachio manifest --verify                     # data/manifest.json
      pistachio manifest --verify old.json
    """
    from stages.contracts.manifest import read_manifest, write_manifest
    from stages.contracts.paths import MANIFEST
    from stages.flows.dataset import compare_manifests, verify_manifest
    from stages.reports.terminal import print_difference, print_json, print_summary
    from stages.runtime.errors import UserError

    if (compare is not None) + verify + (output is not None) != 1:
        todo = "manifest DIR --output FILE, manifest --compare A B, or manifest --verify [FILE]"
        raise UserError("manifest", "say one thing to do", todo)
    if compare is not None:
        difference = compare_manifests(read_manifest(compare[0]), read_manifest(compare[1]))
        print_json(difference.model_dump(mode="json")) if as_json else print_difference(difference)
        raise typer.Exit(0 if difference.empty else 1)
    if verify:
        described = read_manifest(folder or MANIFEST)
        problems = verify_manifest(described)
        lines = problems or [f"{len(described.images)} photos: intact"]
        print_json(problems) if as_json else typer.echo("\n".join(lines))
        raise typer.Exit(1 if problems else 0)
    if folder is None or output is None:
        raise UserError("manifest", "no folder of photos is named", "manifest DIR --output FILE")
    built = _build_manifest(folder, captions)
    write_manifest(built, output)
    print_json(built.summary.model_dump(mode="json")) if as_json else print_summary(built, output)


def _build_manifest(folder: Path, captions: Path) -> "Manifest":
    from stages.contracts.settings import Dataset, Judges, Section, Thresholds, read_machine, read_params
    from stages.flows.dataset import build_manifest
    from stages.flows.photo_facts import open_viewers

    class Params(Section):
        dataset: Dataset
        judges: Judges
        thresholds: Thresholds = Thresholds()

    params, machine = read_params(Params), read_machine()
    viewers = open_viewers(params.judges, machine, params.thresholds.coverage)
    return build_manifest(folder, captions, params.dataset, machine.workers, viewers)


def main() -> None:
    """The program: one line and exit code 2 for bad input, a traceback for a bug."""
    with program():
        app()


if __name__ == "__main__":
    main()
