"""What is said of a sweep, and which cells are shown."""

from typing import Any

from stages.contracts.scorecard import Cell, Choice, Confirmation, Tied
from stages.reports.sweep import describe_choice, label_row, pick_rows


def cell(step: int, similarity: float, images: int = 16) -> Cell:
    return Cell(
        base="models/base", mode="lora", checkpoint=step, lora="", guidance=3.0, sampler="ddim", strength=1.0,
        images=images, similarity_mean=similarity, pass_rate=0.5, detection_rate=1.0,
    )  # fmt: skip


def choice(**changes: Any) -> Choice:
    confirmation = Confirmation(
        naive=cell(300, 0.71, 8), naive_again=cell(300, 0.64), left_out=0, images=16, level=0.05
    )
    tied = (
        Tied(**cell(200, 0.63).model_dump(), cell=1, p_worse=0.3),
        Tied(**cell(300, 0.64).model_dump(), cell=2, p_worse=1),
    )
    values: dict[str, Any] = {
        "best": cell(300, 0.64), "worst": cell(100, 0.2), "cells": 45, "images": 552, "tied": tied,
        "confirmed": (2, 1), "confirmation": confirmation,
    }  # fmt: skip
    return Choice(**values | changes)


def test_the_fresh_figure_comes_first_and_the_flattered_beside_it() -> None:
    said = describe_choice(choice())
    assert said[0].startswith("Chosen: step 300")
    assert "0.640 on 16 fresh pictures" in said[0]
    assert "0.710 there, 0.640 on the fresh ones" in said[1]


def test_the_tied_are_counted_and_the_cheapest_named() -> None:
    assert "2 settings cannot be told apart" in describe_choice(choice())[2]
    assert "step 200, guidance 3, strength 1, ddim: 0.630" in describe_choice(choice())[2]
    assert len(describe_choice(choice(tied=choice().tied[1:]))) == 2


def test_what_was_not_drawn_again_and_where_it_overfits_is_said() -> None:
    assert choice().confirmation is not None
    left_out = choice().confirmation.model_copy(update={"left_out": 4})  # type: ignore[union-attr]
    said = " ".join(describe_choice(choice(confirmation=left_out, overfits_from=200)))
    assert "4 more may be as good" in said
    assert "raise sweep.leaders" in said
    assert "overfits from step 200" in said


def test_one_setting_is_no_choice() -> None:
    assert describe_choice(choice(confirmation=None)) == [
        "One setting, nothing to choose: step 300, guidance 3, strength 1, ddim, similarity 0.640."
    ]


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"cell": n, "rank": count - n, "chosen": int(n == 2), "tied": int(n in (1, 2)), "similarity_mean": 0.1 * n,
         "confirm_similarity_mean": None, "detection_rate": 1.0, **cell(100, 0.5).model_dump(include={"base", "mode",
         "checkpoint", "sampler", "guidance", "strength"})}
        for n in range(count)
    ]  # fmt: skip


def test_the_chosen_the_tied_the_next_best_and_the_worst_are_shown() -> None:
    assert [row["cell"] for row in pick_rows(rows(6), 4)] == [2, 1, 5, 4, 0]
    assert [row["cell"] for row in pick_rows(rows(3), 8)] == [2, 1, 0]


def test_a_label_says_how_a_cell_did() -> None:
    shown = rows(4)
    assert label_row(shown[2]).startswith("CHOSEN")
    assert label_row(shown[1]).startswith("tied")
    assert label_row(shown[3]).startswith("#1  similarity 0.300  faces 100%   base lora step 100")
    assert "fresh seeds 0.512" in label_row(shown[3] | {"confirm_similarity_mean": 0.512})


def test_every_number_of_the_sentences_is_the_one_that_it_says() -> None:
    naive = cell(500, 0.7123, 8).model_copy(update={"guidance": 4.5, "strength": 0.6, "sampler": "euler"})
    confirmation = Confirmation(
        naive=naive, naive_again=naive.model_copy(update={"similarity_mean": 0.6111}), left_out=0, images=24, level=0.01
    )
    cheapest = Tied(**cell(200, 0.6333).model_dump(), cell=1, p_worse=0.3)
    best = cell(300, 0.6444, 20).model_copy(update={"mode": "lora+instantid", "base": "models/base/sdxl"})
    tied = (cheapest, *[Tied(**best.model_dump(), cell=n, p_worse=1) for n in (2, 3)])
    said = describe_choice(choice(confirmation=confirmation, best=best, tied=tied))
    assert said == [
        "Chosen: sdxl lora+instantid step 300, guidance 3, strength 1, ddim: similarity 0.644 on 20 fresh pictures.",
        "Best of 45 on the first seeds: step 500, guidance 4.5, strength 0.6, euler: 0.712 there, 0.611 on the fresh "
        "ones.",
        "3 settings cannot be told apart on 24 pictures each. The cheapest of them (an earlier checkpoint, then a "
        "lower strength, then lower guidance): step 200, guidance 3, strength 1, ddim: 0.633.",
    ]


def test_the_best_by_rank_is_chosen_among_what_is_shown_even_where_it_is_the_worst_too() -> None:
    assert [row["cell"] for row in pick_rows(rows(1), 8)] == [0]
    tied = [row | {"tied": 1, "chosen": int(row["cell"] == 0)} for row in rows(4)]
    assert [row["cell"] for row in pick_rows(tied, 3)] == [3, 2, 0]


def test_a_label_names_the_cell_s_own_settings() -> None:
    own = rows(4)[3] | {"base": "models/other", "mode": "m", "checkpoint": 250, "sampler": "euler", "guidance": 4.5,
                        "strength": 0.7, "detection_rate": 0.625}  # fmt: skip
    assert label_row(own).endswith("faces 62%   other m step 250 euler guidance 4.5 strength 0.7")
