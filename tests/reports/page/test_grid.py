"""The sweep as data for the grid."""

from pages import cell, make_content, make_sweep

from stages.reports.page.grid import describe_sweep, find_marks


def test_axes_hold_every_value_in_order_and_cells_their_place_on_each() -> None:
    sweep = describe_sweep(make_content())
    assert sweep
    assert {axis["key"]: axis["values"] for axis in sweep["axes"]} == {
        "checkpoint": ["100", "200", "300"], "guidance": ["2", "3"], "sampler": ["ddim", "euler"],
        "strength": ["0.8", "1"], "mode": ["lora"], "base": ["base"],
    }  # fmt: skip
    assert len({tuple(one["at"].values()) for one in sweep["cells"]}) == len(sweep["cells"]) == 24
    assert [measure["key"] for measure in sweep["measures"]][:2] == ["similarity_mean", "second_similarity_mean"]
    assert sweep["threshold"] == 0.6


def test_two_bases_of_one_name_are_told_apart_by_their_folders() -> None:
    rows = [{**row, "base": f"models/{'a' if row['cell'] % 2 else 'b'}/base"} for row in make_sweep()]
    sweep = describe_sweep(make_content(sweep=rows))
    assert sweep
    assert sweep["axes"][-1]["values"] == ["models/a/base", "models/b/base"]


def test_the_chosen_cell_is_found_by_its_settings_and_tied_ones_by_number_or_settings() -> None:
    rows = make_sweep()
    best = cell().model_dump()
    (chosen,) = [row["cell"] for row in rows if (row["checkpoint"], row["guidance"], row["sampler"], row["strength"]) ==
                 (300, 3, "ddim", 1)]  # fmt: skip
    marks = find_marks(
        {
            "best": best,
            "tied": [3, best],
            "confirmed": [best | {"checkpoint": 100, "lora": "models/lora/x-100.safetensors"}],
        },
        rows,
    )
    assert marks[int(chosen)] == ["chosen", "tied"]
    assert marks[3][0] == "tied"
    assert sorted(mark for some in marks.values() for mark in some) == ["chosen", "confirmed", "tied", "tied"]


def test_a_sweep_in_which_nothing_was_measured_is_no_grid() -> None:
    assert describe_sweep(make_content(sweep=[])) is None
    bare = [{"cell": 0.0, "checkpoint": 100.0, "similarity_mean": None}]
    assert describe_sweep(make_content(sweep=bare)) is None
