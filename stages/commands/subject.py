"""`pistachio subject`: the card that says who the photos show, what was made under it, and how it is revoked."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stages.contracts.settings import Dataset

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at the subject card data/subject.yaml, check it, revoke it.

Nothing is trained or drawn without a valid one.  docs/publishing.md

\b
Examples:
  pistachio subject check
  pistachio subject show
  pistachio subject revoke --reason "she changed her mind"
""",
)


def _read_dataset() -> "Dataset":
    from stages.contracts.settings import Dataset, Section, read_params

    class Params(Section):
        dataset: Dataset

    return read_params(Params).dataset


@app.command()
def check() -> None:
    """Say whether the card allows promotion.use of this dataset; exit code 2 and one line when it does not.

    \b
    Examples:
      pistachio subject check
    """
    from stages.contracts.paths import SUBJECT
    from stages.contracts.settings import read_promotion
    from stages.flows.subject import require_subject

    use = read_promotion().use
    card = require_subject(_read_dataset(), use)
    typer.echo(f"{SUBJECT}: {card.name} ({card.kind}, adult) allows {use} use of {card.dataset}")


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False) -> None:
    """Show the card, whether it is valid, and what was made under it.

    \b
    Examples:
      pistachio subject show
      pistachio subject show --json | jq -r '.made[].path'
    """
    from stages.contracts.settings import read_promotion
    from stages.contracts.subject import read_subject
    from stages.flows.subject import list_objections
    from stages.flows.takedown import list_made
    from stages.reports.terminal import print_json

    card, dataset = read_subject(), _read_dataset()
    against, made = list_objections(card, dataset, read_promotion().use), list_made(card, dataset)
    if as_json:
        pieces = [piece.model_dump(mode="json") for piece in made]
        print_json({"card": card.model_dump(mode="json"), "sha256": card.sha256, "against": against, "made": pieces})
        return
    for key, value in card.model_dump(mode="json", exclude_none=True).items():
        typer.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    typer.echo(f"sha256: {card.sha256}")
    typer.echo("\n".join(f"not valid: {line}" for line in against) or "valid")
    counts = Counter(piece.kind for piece in made)
    typer.echo(f"made under it: {', '.join(f'{count} x {kind}' for kind, count in counts.items())}")


@app.command()
def revoke(reason: Annotated[str, typer.Option(help="Why; it stands in the card.")]) -> None:
    """Revoke the card: nothing is trained or drawn any more, and what was made is listed, with what to do with it.

    \b
    Examples:
      pistachio subject revoke --reason "she changed her mind"
    """
    from stages.flows.takedown import revoke as revoke_card
    from stages.flows.takedown import write_takedown

    card = revoke_card(reason)
    assert card.revoked is not None
    typer.echo(f"revoked on {card.revoked.date}: {card.revoked.reason}")
    path, made = write_takedown(card, _read_dataset())
    for piece in made:
        typer.echo(f"{piece.kind}\t{piece.path}\t{piece.note}")
    typer.echo(f"{path}: {len(made)} pieces, and what to do with each; commit data/subject.yaml")
