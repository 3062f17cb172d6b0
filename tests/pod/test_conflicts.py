"""Flags that contradict each other are refused: one of them would be ignored in silence."""

from pathlib import Path

import pytest

from pod.__main__ import main

pytestmark = pytest.mark.guardrails


@pytest.mark.parametrize(
    "line",
    [
        "backup --verify a.tar.gz --output b", "backup --verify a.tar.gz --loras", "restore a.tar.gz --dry-run --force",
        "restore a.tar.gz --dry-run --nodes", "cycle --dry-run --fresh", "cost stop --session x --lost",
        "cost start --idle-stop 5",
    ],
)  # fmt: skip
def test_two_flags_of_which_one_would_be_ignored_are_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = main(line.split())
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    assert "error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "health --wait nan", "health --wait -1", "watch --for inf", "cost --idle-stop nan", "cycle --max-hours nan",
        "cycle --max-usd -1", "cycle --max-failures -1", "cost start --activity x --pid -1",
    ],
)  # fmt: skip
def test_a_bound_that_never_comes_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    assert "number from 0 on" in capsys.readouterr().err
