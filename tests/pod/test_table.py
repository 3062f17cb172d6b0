"""The table of every pod command."""

import json

import pytest

from pod.table import FAIL, PASS, WARN, Row, exit_code, print_table

ROWS = [Row(PASS, "disk", "9 GB free"), Row(FAIL, "port", "is taken", "end it"), Row(WARN, "node", "changed")]


def test_it_says_what_failed_and_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_table(ROWS) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "PASS    disk: 9 GB free",
        "FAIL    port: is taken",
        "        -> end it",
        "WARN    node: changed",
    ]
    assert lines[-1] == "1 pass, 1 fail, 1 warn"


def test_as_json_it_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_table(ROWS, as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ok"], [row["todo"] for row in said["rows"]]) == (False, ["", "end it", ""])


def test_a_warning_is_no_failure() -> None:
    assert exit_code([ROWS[0], ROWS[2]]) == 0
