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
