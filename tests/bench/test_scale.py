"""The page on scale says what the newest row gives, and the plan behaves as plans do."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import scale

FIGURES: dict[str, Any] = {
    "workers": 2, "start_s": {"cluster": 4.0, "worker": 0.5, "first_picture": 5.5}, "replaced_s": 1.5,
    "64px": {"driver_cpu_ms": 2.0, "wall_ms": 9.0, "encode_ms": 1.0, "look_ms": 10.0},
    "1024px": {"driver_cpu_ms": 100.0, "wall_ms": 90.0, "encode_ms": 300.0, "look_ms": 186.577},
}  # fmt: skip
EACH = 2.5  # 30 steps at 14.9 a second, and the rest


def test_a_pod_works_for_hours_and_many_wait_for_the_driver() -> None:
    one, sixteen, crowd = (scale.plan(FIGURES, pods) for pods in (1, 16, 1000))
    assert one["hours"] == pytest.approx((70 + 10_000 * EACH) / 3600, rel=1e-4)
    assert sixteen["hours"] == pytest.approx((70 + 10_000 * EACH / 16) / 3600, rel=1e-4)
    assert (one["busy"], crowd["busy"]) == (pytest.approx(0.04), 1.0)
    assert crowd["hours"] == pytest.approx((70 + 10_000 * 0.1) / 3600)
    assert scale.most_pods(FIGURES) == (89, 24)


def test_the_table_is_written_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    page, result = tmp_path / "page.md", tmp_path / "scale.json"
    result.write_text(json.dumps([{"figures": {}}, {"figures": FIGURES}]))
    page.write_text(f"# Title\n\n{scale.BEGIN}\nold\n{scale.END}\n\nrest\n")
    for _ in range(2):
        scale.write_page(page, result)
        text = page.read_text()
        assert text.startswith("# Title\n\n")
        assert text.endswith("\n\nrest\n")
        assert "old" not in text
        assert text.count("\n| 16 | 0.45 | 7.26 | 4.3% | 64.0% |") == 1


def test_the_page_says_what_the_newest_row_gives(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text(scale.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    if not scale.RESULT.exists():
        assert "Not yet measured on a quiet machine." in page.read_text(encoding="utf-8")
        return
    scale.write_page(page)
    assert page.read_text(encoding="utf-8") == scale.PAGE.read_text(encoding="utf-8"), "python -m bench.scale --page"


@pytest.mark.slow
def test_driver_worker_and_loss_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "PICTURES", dict.fromkeys(scale.SIDES, 40))
    found = scale.measure(2)
    assert scale.plan(found, 4)["hours"] > 0
    assert 0 < found["64px"]["driver_cpu_ms"] < found["64px"]["wall_ms"] * 2
