"""Curves: which columns are drawn, with which intervals and marks."""

import pytest
from pages import cell, make_card, make_content

from stages.reports.page.content import Row
from stages.reports.page.curves import checkpoint_charts, loss_chart

CHECKPOINTS: list[Row] = [
    {"checkpoint": 100.0, "likeness": 50.0, "likeness_low": 45.0, "likeness_high": 55.0, "adherence": 0.31,
     "adherence_sd": 0.1, "memorisation": None, "recommended": 0.0},
    {"checkpoint": 200.0, "likeness": 70.0, "likeness_low": 66.0, "likeness_high": 74.0, "adherence": 0.30,
     "adherence_sd": 0.1, "memorisation": None, "recommended": 1.0},
]  # fmt: skip


def test_losses_are_one_chart_that_names_the_lowest_holdout_loss() -> None:
    chart = loss_chart(make_content())
    assert chart
    assert [name for _, name in chart.legend] == ["training photos", "holdout photos"]
    assert "lowest holdout loss at step 100" in chart.drawing
    assert chart.rows[0] == ["0", "0.1000", "0.1500"]
    assert chart.rows[1] == ["10", "0.0500", ""]


def test_without_measured_losses_there_is_no_chart() -> None:
    assert loss_chart(make_content(loss=[{"step": 0.0, "loss": None}])) is None


def test_every_measured_column_of_checkpoints_is_a_chart_with_its_interval() -> None:
    charts, note = checkpoint_charts(make_content(checkpoints=CHECKPOINTS))
    assert [chart.title for chart in charts] == ["Likeness, face pack", "Prompt adherence"]
    assert charts[0].rows == [["100", "50.0", "45.0 to 55.0"], ["200", "70.0", "66.0 to 74.0"]]
    assert charts[1].rows[0] == ["100", "0.310", ""]
    assert note == ""


def test_the_recommended_checkpoint_and_the_used_one_are_marked() -> None:
    used = make_card(best_config=cell(100))
    (likeness, _), _ = checkpoint_charts(make_content(card=used, checkpoints=CHECKPOINTS))
    assert "recommended: 200" in likeness.drawing
    assert "used: 100" in likeness.drawing
    same = make_card(best_config=cell(200))
    (likeness, _), _ = checkpoint_charts(make_content(card=same, checkpoints=CHECKPOINTS))
    assert "recommended and used: 200" in likeness.drawing


def test_without_the_table_the_sweep_s_cells_with_the_chosen_settings_are_drawn() -> None:
    content = make_content()
    charts, note = checkpoint_charts(content)
    assert [chart.title for chart in charts] == [
        "Similarity, face pack",
        "Similarity, second judge",
        "Prompt adherence",
    ]
    chosen = [r for r in content.sweep if (r["guidance"], r["sampler"], r["strength"]) == (3.0, "ddim", 1.0)]
    assert [row[:2] for row in charts[0].rows] == [
        [f"{row['checkpoint']:g}", f"{row['similarity_mean']:.3f}"] for row in chosen
    ]
    assert "the truth is wider" in note


def test_an_interval_from_the_sweep_is_the_mean_s_with_student_s_quantile() -> None:
    chart = checkpoint_charts(make_content())[0][0]
    low, high = (float(end) for end in chart.rows[0][2].replace("−", "-").split(" to "))
    assert (high - low) / 2 == pytest.approx(12.706 * 0.05 / 2**0.5, abs=1e-3)  # two pictures: one degree of freedom


def test_nothing_is_drawn_where_nothing_is_known() -> None:
    assert checkpoint_charts(make_content(sweep=[]))[0] == []
