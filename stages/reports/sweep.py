"""What a sweep chose and why, in sentences and as a sheet of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.contracts.lora import describe_step
from stages.contracts.scorecard import Cell, Choice

CHEAPER = "an earlier checkpoint, then a lower strength, then lower guidance"


def name_cell(cell: Cell) -> str:
    """A cell's settings in words."""
    model = f"{Path(cell.base).name} {cell.mode} " if cell.mode != "lora" else ""
    step = describe_step(cell.checkpoint)
    return f"{model}step {step}, guidance {cell.guidance:g}, strength {cell.strength:g}, {cell.sampler}"


def describe_choice(choice: Choice) -> list[str]:
    """What was chosen, how it was confirmed and whether the training overfits: a sentence each."""
    best, confirmation = choice.best, choice.confirmation
    if confirmation is None:
        return [f"One setting, nothing to choose: {name_cell(best)}, similarity {best.similarity_mean:.3f}."]
    naive, again = confirmation.naive, confirmation.naive_again
    said = [
        f"Chosen: {name_cell(best)}: similarity {best.similarity_mean:.3f} on {best.images} fresh pictures.",
        f"Best of {choice.cells} on the first seeds: {name_cell(naive)}: {naive.similarity_mean:.3f} there, "
        f"{again.similarity_mean:.3f} on the fresh ones.",
    ]
    if len(choice.tied) > 1:
        cheapest = choice.tied[0]
        said.append(
            f"{len(choice.tied)} settings cannot be told apart on {confirmation.images} pictures each. The cheapest of "
            f"them ({CHEAPER}): {name_cell(cheapest)}: {cheapest.similarity_mean:.3f}."
        )
    if confirmation.left_out:
        said.append(f"{confirmation.left_out} more may be as good and were not drawn again: raise sweep.leaders.")
    if choice.overfits_from is not None:
        said.append(
            f"The training overfits from step {choice.overfits_from}: the loss of holdout photos rises, and no later "
            "checkpoint is clearly more alike."
        )
    return said


def label_row(row: dict[str, Any]) -> str:
    """The label of a cell's pictures: how it did and what it is, from a row of sweep_summary.csv."""
    mark = "CHOSEN" if row["chosen"] else "tied" if row["tied"] else f"#{row['rank']}"
    fresh = row["confirm_similarity_mean"]
    again = f", fresh seeds {fresh:.3f}" if fresh is not None else ""
    return (
        f"{mark}  similarity {row['similarity_mean']:.3f}{again}  faces {row['detection_rate']:.0%}   "
        f"{Path(row['base']).name} {row['mode']} step {describe_step(row['checkpoint'])} {row['sampler']} "
        f"guidance {row['guidance']:g} strength {row['strength']:g}"
    )


def pick_rows(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """What to show: the chosen cell, the tied, the next best, and the worst last."""
    ordered = sorted(rows, key=lambda row: (-row["chosen"], -row["tied"], row["rank"]))
    worst = max(rows, key=lambda row: row["rank"])
    shown = [row for row in ordered[:most] if row is not worst]
    return [*shown, worst]
