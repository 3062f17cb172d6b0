"""`pistachio caption`: caption any folder of photos, and look for what all its captions say."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class _DirMeansWrite(TyperGroup):
    """``caption DIR`` is ``caption write DIR``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["write", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_DirMeansWrite,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Caption any folder of photos, and look for what all its captions say.

\b
Examples:
  pistachio caption photos/              # the same as: pistachio caption write photos/
  pistachio caption write --help
  pistachio caption lint photos/
""",
)

Trigger = Annotated[str | None, typer.Option(help="The word that means the person.")]
ClassWord = Annotated[str | None, typer.Option(help="What the person is to the base model.")]


@app.command()
def write(
    folder: Annotated[Path, typer.Argument(help="Photos.", metavar="DIR")],
    output: Annotated[Path | None, typer.Option(help="Where captions go; default beside the photos.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Caption anew what has a caption already.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive/--no-recursive", help="Subfolders too.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written where.")] = False,
    backend: Annotated[str | None, typer.Option(help="blip2, florence2, template or module:Class.")] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of the captioning model.")] = None,
    trigger: Trigger = None,
    class_word: ClassWord = None,
) -> None:
    """Write a .txt caption for every photo of a folder, the trigger in it.  Also said: caption DIR.

    A caption that is there is kept, whoever wrote it, unless --overwrite; with --output, captions beside the photos are
    copied.  Captioner and words come from the command line, else from params.yaml, else from the schema's default.

    \b
    Examples:
      pistachio caption photos/ --dry-run
      pistachio caption photos/ --output captions/ --backend florence2 --model models/base/florence-2-large
      pistachio caption photos/ --backend template --trigger ohwx --class-word man --overwrite
    """
    from stages.flows.caption_folder import caption_folder, choose_captioning, plan_captions
    from stages.reports.terminal import print_caption_plan, print_captions

    chosen = choose_captioning(folder, backend=backend, model=model, trigger=trigger, class_word=class_word)
    plan = plan_captions(folder, output, overwrite=overwrite, recursive=recursive)
    if dry_run:
        print_caption_plan(plan, chosen.caption.backend)
        return
    print_captions(caption_folder(plan, chosen), kept=sum(place.todo == "keep" for place in plan), total=len(plan))


@app.command()
def lint(
    folder: Annotated[Path, typer.Argument(help="Photos with captions, or captions.", metavar="DIR")] = Path(
        "data/captions"
    ),
    share: Annotated[float, typer.Option(help="Share of the captions that makes a finding.", min=0, max=1)] = 0.8,
    drop: Annotated[list[str] | None, typer.Option(help="Take this out of the captions; may be repeated.")] = None,
    drop_all: Annotated[bool, typer.Option("--drop-all", help="Take every finding out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what --drop and --drop-all would change.")] = False,
    trigger: Trigger = None,
    class_word: ClassWord = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List what nearly every caption says: it is learnt as part of everything, instead of the trigger.

    Trigger and class word are excepted.  Exit code 1 when there is a finding (after what was dropped, if anything).

    \b
    Examples:
      pistachio caption lint                                # data/captions
      pistachio caption lint photos/ --share 0.9 --json
      pistachio caption lint photos/ --drop "the image shows" --dry-run
      pistachio caption lint photos/ --drop-all
    """
    from stages.flows.caption_folder import choose_captioning
    from stages.flows.caption_lint import plan_drop, read_captions, write_edits
    from stages.measures.captions import find_fragments
    from stages.reports.terminal import describe_lint, print_caption_edits, print_caption_findings, print_json
    from stages.runtime.errors import UserError

    if dry_run and not (drop or drop_all):
        raise UserError("--dry-run", "nothing to try", "it goes with --drop or --drop-all")
    dataset = choose_captioning(folder, trigger=trigger, class_word=class_word).dataset
    captions = read_captions(folder)
    gone, edits = plan_drop(captions, drop or (), dataset, share if drop_all else None)
    if not dry_run:
        write_edits(edits)
    left = captions | {edit.file: edit.after for edit in edits}
    findings = find_fragments(list(left.values()), dataset.trigger, dataset.class_word, share)
    if as_json:
        print_json(describe_lint(folder, len(captions), share, findings, gone, edits, written=not dry_run))
    else:
        print_caption_edits(folder, gone, edits, written=not dry_run)
        print_caption_findings(findings, len(captions), share)
    raise typer.Exit(1 if findings else 0)
