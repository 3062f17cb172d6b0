"""CSV tables."""

from pathlib import Path

from stages.reports.tables import write_table


def test_columns_have_an_order_floats_six_decimals_and_text_is_quoted_where_needed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = [{"b": 1 / 3, "a": "x, y", "c": 2}, {"b": -1e-9, "a": 'say "so"', "c": 3}]
    write_table(path, rows, ["a", "b", "c"])
    assert path.read_text() == 'a,b,c\n"x, y",0.333333,2\n"say ""so""",0.0,3\n'


def test_no_rows_are_a_header(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", [], ["a", "b"])
    assert (tmp_path / "t.csv").read_text() == "a,b\n"
