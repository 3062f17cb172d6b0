"""A benchmark alternates two sides, refuses to time different work, and records what it measured."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import compare, list_benchmarks, main
from bench.harness import Case, Timed, measure, median_interval, require_peer, run_benchmark
from bench.regressions import find_regressions, read_rows
from stages.runtime.errors import UserError


def unlike(a: Any, b: Any) -> str:
    return "" if a == b else f"{a} is not {b}"


def case(ours: Callable[[], Any], peer: Callable[[], Any], **more: Any) -> Case:
    return Case(ours, peer, unlike, "none", 3, "things", **more)


def test_the_sides_take_turns_after_one_warm_up_each() -> None:
    calls: list[str] = []
    measure(case(lambda: calls.append("A"), lambda: calls.append("B"), before=lambda: calls.append("-")), pairs=3)
    assert "".join(calls) == "-A-B" * 4


def test_the_ratio_is_the_peers_time_over_ours() -> None:
    found = measure(case(lambda: Timed(1, 0.5), lambda: Timed(1, 1.5)), pairs=3)
    assert found.ratios == [3.0] * 3
    slow = measure(case(lambda: None, lambda: time.sleep(0.02)), pairs=1)
    assert slow.ratio > 5
    assert slow.peer[0] >= 0.02


def test_preparing_a_run_takes_no_time() -> None:
    assert measure(case(lambda: None, lambda: None, before=lambda: time.sleep(0.05)), pairs=1).ours[0] < 0.04


def test_work_with_another_result_is_not_timed() -> None:
    ran: list[int] = []

    def ours() -> int:
        ran.append(1)
        return 1

    with pytest.raises(UserError, match="not the same: 1 is not 2"):
        measure(case(ours, lambda: 2))
    assert len(ran) == 1


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    """Enumerated: of all ways in which seven values may lie below or above the median."""
    for n in (5, 7, 12):
        low, high, coverage = median_interval([float(v) for v in range(n)])
        below = [sum(sides) for sides in product((0, 1), repeat=n)]  # how many of n lie below the median
        assert coverage == pytest.approx(sum(low < count <= high for count in below) / 2**n)
        assert coverage >= 0.9
    assert median_interval([2.0]) == (2.0, 2.0, 0.0)
    assert median_interval([3.0, 1.0, 2.0])[:2] == (1.0, 3.0)


def test_a_row_says_what_where_and_with_what(tmp_path: Path) -> None:
    one = case(lambda: Timed(1, 1), lambda: Timed(1, 3), name="small", aim=2.0, peers={"peer": {"version": "1"}})
    lines = run_benchmark("thing", replace(one, figures=lambda: {"pixels": 64}), 5, tmp_path)
    assert lines == ["thing, small: 3.00x (3.00 to 3.00, 5 pairs); 3 things: ours 1.00 s, peer 3.00 s; aim 2.0x: met"]
    run_benchmark("thing", [one, replace(one, aim=4.0)], 5, tmp_path)
    rows = json.loads((tmp_path / "thing.json").read_text())
    assert len(rows) == 3
    assert rows[0].keys() == {
        "command", "date", "commit", "dirty", "machine", "python", "versions", "peers", "figures",
    }  # fmt: skip
    assert len(rows[0]["commit"]) == 40
    assert rows[0]["figures"]["more"] == {"pixels": 64}
    assert rows[0]["figures"]["interval"] == [3.0, 3.0]
    assert "more" not in rows[1]["figures"]


def row(ratio: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    figures = {"case": "", "ratio": ratio, "interval": [low, high], "work": 3, "unit": "things"}
    return {"command": "python -m bench thing", "machine": {"cores": 2}, "figures": figures} | more


def test_a_newest_row_below_the_best_is_a_regression() -> None:
    (line,) = find_regressions([row(3.0, 2.9, 3.1, commit="a" * 40), row(2.8, 2.7, 2.95), row(2.5, 2.4, 2.6)])
    assert line.startswith("thing: 2.50x (2.40 to 2.60) at ?, was 3.00x (2.90 to 3.10) at aaaaaaaaa")


@pytest.mark.parametrize(
    "rows",
    [
        [row(3.0, 2.9, 3.1)],
        [row(3.0, 2.9, 3.1), row(2.5, 2.2, 2.95)],  # the intervals overlap
        [row(3.0, 2.99, 3.01), row(2.95, 2.94, 2.96)],  # 2% is nothing
        [row(3.0, 2.9, 3.1), row(2.0, 1.9, 2.1, machine={"cores": 64})],
        [row(2.0, 1.9, 2.1), row(3.0, 2.9, 3.1)],
    ],
)
def test_what_is_no_regression(rows: list[dict[str, Any]]) -> None:
    assert find_regressions(rows) == []


def test_a_peer_of_another_version_is_told_with_the_regression() -> None:
    (line,) = find_regressions([row(3.0, 2.9, 3.1, peers={"a": 1}), row(2.0, 1.9, 2.1, peers={"a": 2})])
    assert line.endswith("; also changed: peers")


def test_compare_reads_the_committed_files_and_fails_on_a_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thing.json").write_text(json.dumps([row(3.0, 2.9, 3.1), row(2.0, 1.9, 2.1)]))
    (tmp_path / "other.json").write_text(json.dumps([{"figures": {"pairs": []}}]))
    assert read_rows(tmp_path / "other.json") == []
    assert compare(tmp_path) == 1
    assert capsys.readouterr().out.startswith("thing: 2.00x")


def test_every_benchmark_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr().out
    assert all(name in printed and does in printed for name, does in list_benchmarks().items())
    assert not {"harness", "samplers", "__main__"} & list_benchmarks().keys()


def test_an_unknown_benchmark_and_no_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="no such benchmark"):
        main(["nonesuch"])
    with pytest.raises(UserError, match="0 pairs"):
        main(["all", "--pairs", "0"])


def test_a_missing_peer_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BENCH_THING", raising=False)
    with pytest.raises(UserError, match="BENCH_THING: thing is not there; git clone it"):
        require_peer("BENCH_THING", "thing", "git clone it")
    monkeypatch.setenv("BENCH_THING", str(tmp_path))
    assert require_peer("BENCH_THING", "thing", "") == tmp_path
