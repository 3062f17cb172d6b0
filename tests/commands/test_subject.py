"""`pistachio subject`: check, show, revoke."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner
from workspaces import LORA_KEY, write_card, write_params

from stages.__main__ import app
from stages.contracts.lora import write_lora
from stages.contracts.subject import read_subject
from stages.runtime.errors import UserError

RUN = CliRunner()


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    write_card(tmp_path, "persona")
    write_lora(Path("models/lora/persona.safetensors"), {LORA_KEY: np.zeros((1, 4), np.float32)}, {})


def record(folder: str, name: str, subject: str, approved: bool = True) -> Path:
    texts = "batch prompt text negative_prompt version lora lora_sha256 base base_sha256 mode sampler backend"
    numbers = "seed strength guidance steps width height"
    origin = dict.fromkeys([*texts.split(), "manifest_sha256"], "x") | {"subject_sha256": subject}
    origin |= dict.fromkeys(numbers.split(), 1)
    scores = dict.fromkeys("faces similarity second_similarity realism adherence sharpness".split(), 1)
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    row = {"file": name, "pixels_sha256": "0", "origin": origin, "scores": scores, "approved": approved, "reasons": []}
    path.with_suffix(".json").write_text(json.dumps(row))
    return path


def test_check_says_what_the_card_allows() -> None:
    done = RUN.invoke(app, ["subject", "check"])
    assert (done.exit_code, "allows non-commercial use of persona" in done.output) == (0, True)


def test_revoke_writes_the_card_and_lists_what_was_made() -> None:
    sha256 = read_subject().sha256
    ours = record("out/approved", "a.png", sha256)
    worse = record("out/rejected", "b.png", sha256, approved=False)
    record("out/approved", "other.png", "someone else's")
    row = {
        "picture": "/site/a.png",
        "file_sha256": "1",
        "stamped_at": "2026",
        "record": {"origin": {"subject_sha256": sha256}},
    }
    Path("data/published.jsonl").write_text(json.dumps(row) + '\n{"torn')
    card = Path("data/subject.yaml")
    card.write_text("# hers\n" + card.read_text() + "revoked: null  # not yet\n")
    done = RUN.invoke(app, ["subject", "revoke", "--reason", 'she said: "no"'])
    assert done.exit_code == 0, done.output
    assert read_subject().revoked is not None
    assert read_subject().revoked.reason == 'she said: "no"'
    assert card.read_text().startswith("# hers\n")
    listed = Path("logs/takedown.md").read_text()
    for path in (ours, worse, "/site/a.png", "models/lora/persona.safetensors", "data/photos"):
        assert f"`{path}`" in listed
    assert "other.png" not in listed
    again = RUN.invoke(app, ["subject", "revoke", "--reason", "later"])
    assert 'she said: "no"' in again.output
    with pytest.raises(UserError, match="revoked: on"):
        RUN.invoke(app, ["subject", "check"], catch_exceptions=False)


def test_show_tells_the_same_as_json() -> None:
    shown = json.loads(RUN.invoke(app, ["subject", "show", "--json"]).output)
    assert shown["against"] == []
    assert re.fullmatch("[0-9a-f]{64}", shown["sha256"])
    assert {"photos", "LoRA"} <= {piece["kind"] for piece in shown["made"]}


def test_revoking_needs_a_reason() -> None:
    with pytest.raises(UserError, match="--reason: empty"):
        RUN.invoke(app, ["subject", "revoke", "--reason", " "], catch_exceptions=False)
