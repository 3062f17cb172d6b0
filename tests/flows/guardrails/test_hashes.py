"""What was written down by hash: the manifest's photos, the history's versions."""

import json
import shutil
from pathlib import Path

import pytest
from workspaces import make_workspace

from stages.flows.guardrails.hashes import changed_photos, version_problems

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.guardrails


def test_a_photo_that_is_not_the_manifest_s_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_workspace(tmp_path, photos=3, holdout=1)
    before = changed_photos(Path())
    (tmp_path / "data/photos/001.png").write_bytes(b"another")
    assert any("001.png" in line for line in set(changed_photos(Path())) - set(before))
    shutil.rmtree(tmp_path / "data/photos")
    assert changed_photos(Path()) == []


def test_a_version_that_was_replaced_by_hand_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    shutil.copyfile(ROOT / "metrics/history.jsonl", tmp_path / "metrics/history.jsonl")
    for name in ("v2", "v3"):
        (tmp_path / "metrics/versions" / name).mkdir(parents=True)
        shutil.copyfile(ROOT / f"metrics/versions/{name}/scorecard.json",
                        tmp_path / f"metrics/versions/{name}/scorecard.json")  # fmt: skip
    assert version_problems(tmp_path) == []
    path = tmp_path / "metrics/versions/v3/scorecard.json"
    card = json.loads(path.read_text()) | {"run_id": "0" * 12}
    path.write_text(json.dumps(card))
    (line,) = version_problems(tmp_path)
    assert line.startswith("metrics/versions/v3/scorecard.json: run 000000000000")
    path.unlink()
    assert "is not there" in version_problems(tmp_path)[0]
