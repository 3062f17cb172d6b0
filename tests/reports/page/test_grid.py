"""The sweep as data for the grid."""

from pages import make_content, make_sweep

from stages.reports.page.grid import describe_sweep


def test_axes_hold_every_value_in_order_and_cells_their_place_on_each() -> None:
    sweep = describe_sweep(make_content())
    assert sweep
    assert {axis["key"]: axis["values"] for axis in sweep["axes"]} == {
        "checkpoint": ["100", "200", "300"], "guidance": ["2", "3"], "sampler": ["ddim", "euler"],
        "strength": ["0.8", "1"], "mode": ["lora"], "base": ["base"],
    }  # fmt: skip
    assert len({tuple(one["at"].values()) for one in sweep["cells"]}) == len(sweep["cells"]) == 24
    assert [measure["key"] for measure in sweep["measures"]][:2] == ["similarity_mean", "confirm_similarity_mean"]
    assert [m["key"] for m in sweep["measures"] if m["line"] == 0.6] == ["similarity_mean", "confirm_similarity_mean"]
    assert not [m["key"] for m in sweep["measures"] if "images" in m["key"] or m["key"].endswith(("_low", "_high"))]


def test_a_cell_holds_its_values_intervals_pictures_and_marks() -> None:
    sweep = describe_sweep(make_content())
    assert sweep
    first, *_, best = (sweep["cells"][n] for n in (0, 20))
    assert "confirm_similarity_mean" not in first["v"]
    assert (best["v"]["similarity_mean"], best["v"]["confirm_similarity_mean"]) == (0.8, 0.75)
    assert best["r"]["confirm_similarity_mean"] == [0.7, 0.8]
    assert (first["images"], best["images"]) == (2, 6)
    assert {cell["n"]: cell["is"] for cell in sweep["cells"] if cell["is"]} == {
        20: ["chosen", "tied", "cheapest"], 23: ["tied"],
    }  # fmt: skip


def test_the_best_cells_stay_where_there_are_too_many() -> None:
    rows = [{**row, "cell": float(i), "rank": i + 1.0} for i, row in enumerate(make_sweep() * 50)]
    sweep = describe_sweep(make_content(sweep=rows))
    assert sweep
    assert (sweep["left_out"], [one["n"] for one in sweep["cells"]]) == (200, list(range(1000)))


def test_two_bases_of_one_name_are_told_apart_by_their_folders() -> None:
    rows = [{**row, "base": f"models/{'a' if row['cell'] % 2 else 'b'}/base"} for row in make_sweep()]
    sweep = describe_sweep(make_content(sweep=rows))
    assert sweep
    assert sweep["axes"][-1]["values"] == ["models/a/base", "models/b/base"]


def test_a_sweep_in_which_nothing_was_measured_is_no_grid() -> None:
    assert describe_sweep(make_content(sweep=[])) is None
    bare = [{"cell": 0.0, "checkpoint": 100.0, "similarity_mean": None, "rank": 1.0}]
    assert describe_sweep(make_content(sweep=bare)) is None
