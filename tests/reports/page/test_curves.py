"""Curves: which columns are drawn, with which intervals and marks."""

from pages import cell, make_card, make_checkpoints, make_choice, make_content

from stages.reports.page.curves import checkpoint_charts, loss_chart


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
    charts = checkpoint_charts(make_content())
    assert [chart.title for chart in charts] == [
        "Similarity, face pack", "Similarity, second judge", "Prompt adherence", "Closeness to training photos",
        "Loss on holdout photos",
    ]  # fmt: skip
    assert charts[0].rows[:2] == [["100", "0.600", "0.550 to 0.650"], ["200", "0.700", "0.650 to 0.750"]]
    assert charts[2].rows[0] == ["100", "0.300", ""]


def test_a_column_without_a_number_is_no_chart() -> None:
    rows = [{**row, "holdout_loss": None} for row in make_checkpoints()]
    assert "Loss on holdout photos" not in [c.title for c in checkpoint_charts(make_content(checkpoints=rows))]


def test_the_recommended_checkpoint_and_the_used_one_are_marked() -> None:
    first = checkpoint_charts(make_content(card=make_card(best_config=cell(100))))[0]
    assert "recommended: 200" in first.drawing
    assert "used: 100" in first.drawing
    same = checkpoint_charts(make_content(card=make_card(best_config=cell(200))))[0]
    assert "recommended and used: 200" in same.drawing


def test_the_step_from_which_the_training_overfits_is_marked_where_there_is_one() -> None:
    overfits = checkpoint_charts(make_content(choice=make_choice(overfits_from=100)))[0]
    assert "overfits from step 100" in overfits.drawing
    assert overfits.marks == 3  # recommended: 200, used: 300
    there = checkpoint_charts(make_content(choice=make_choice(overfits_from=200)))[0]
    assert "recommended: 200, overfits from here" in there.drawing
    assert "overfits" not in checkpoint_charts(make_content())[0].drawing


def test_nothing_is_drawn_where_nothing_is_known() -> None:
    assert checkpoint_charts(make_content(checkpoints=[])) == []
