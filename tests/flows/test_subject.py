"""The subject card: what it forbids, said in one line, and by every stage before it begins."""

import hashlib
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspaces import write_card

from stages.contracts.settings import Dataset
from stages.contracts.subject import read_subject
from stages.flows.subject import require_subject
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
DATASET = Dataset(name="ada", photos=Path("data/photos"), trigger="ada", class_word="woman")
CONSENT = b"I agree."


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(use: str = "non-commercial", **changes: Any) -> str:
    write_card(Path(), "ada", **changes)
    try:
        require_subject(DATASET, use)
    except UserError as error:
        return str(error)
    return ""


def test_a_valid_card_is_handed_over_with_its_hash() -> None:
    write_card(Path(), "ada")
    assert len(require_subject(DATASET, "commercial").sha256) == 64


def test_no_card_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"data/subject\.yaml: not found.*fill it in"):
        require_subject(DATASET, "commercial")


@pytest.mark.parametrize("adult", [False, "true", "yes", 1, 0, "false"])
def test_whoever_is_not_said_to_be_an_adult_is_refused(adult: object) -> None:
    assert "adult: must be true: only adults are drawn" in refusal(adult=adult)


def test_a_card_that_says_nothing_of_adult_is_refused() -> None:
    assert "adult: not filled in" in refusal(adult=None)
    write_card(Path(), "ada")
    card = Path("data/subject.yaml")
    card.write_text(card.read_text().replace("adult: true\n", ""))
    with pytest.raises(UserError, match="adult: not filled in"):
        require_subject(DATASET, "commercial")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "eve"}, "dataset: 'eve', but dataset.name is 'ada'"),
        ({"scope": ["commercial"]}, "scope: commercial, but promotion.use is non-commercial"),
        ({"expires": date.today() - timedelta(1)}, "expires: it did on"),
        ({"revoked": {"date": date(2026, 2, 1), "reason": "no more"}}, "revoked: on 2026-02-01 (no more)"),
        ({"evidence": "consent.pdf", "evidence_sha256": "0" * 64}, "evidence: consent.pdf is not there"),
        ({"evidence": "consent.pdf"}, "evidence_sha256: missing"),
        ({"kind": "consenting"}, "evidence_sha256: missing; a consenting person signed something"),
        ({"made_with": None}, "made_with: missing"),
        ({"age": 30}, "age: unknown key (value 30)"),
        ({"kind": "real"}, "kind: Input should be 'synthetic' or 'consenting'"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(**changes)


def test_every_problem_stands_in_the_one_line() -> None:
    assert "\n" not in refusal(dataset="eve", scope=["commercial"])
    line = refusal(dataset="eve", scope=["commercial"], revoked={"date": date(2026, 2, 1), "reason": "no"})
    assert all(key in line for key in ("revoked:", "dataset:", "scope:"))
    line = refusal(adult=False, kind=None, date="someday")
    assert all(key in line for key in ("adult:", "kind:", "date:"))


def test_evidence_that_was_changed_is_refused_and_the_signed_one_is_not() -> None:
    Path("consent.pdf").write_bytes(CONSENT)
    signed = {"kind": "consenting", "evidence": "consent.pdf", "evidence_sha256": hashlib.sha256(CONSENT).hexdigest()}
    assert refusal(**signed) == ""
    Path("consent.pdf").write_bytes(CONSENT + b" Not.")
    assert "evidence_sha256: consent.pdf is another file" in refusal(**signed)


def test_the_last_day_is_a_day() -> None:
    assert refusal(expires=date.today()) == ""


def test_a_card_s_hash_is_of_what_was_agreed() -> None:
    write_card(Path(), "ada")
    first = read_subject().sha256
    write_card(Path(), "ada", revoked={"date": date(2026, 2, 1), "reason": "no more"})
    assert read_subject().sha256 == first
    write_card(Path(), "ada", scope=["commercial"])
    assert read_subject().sha256 != first


def test_the_repository_s_own_card_is_of_nobody_and_allows_both_uses() -> None:
    card = read_subject(ROOT / "data/subject.yaml")
    assert (card.kind, set(card.scope)) == ("synthetic", {"non-commercial", "commercial"})
    assert yaml.safe_load((ROOT / "params.yaml").read_text())["dataset"]["name"] == card.dataset


@pytest.mark.parametrize("stage", ["manifest", "train", "sweep", "eval"])
def test_a_revoked_card_stops_every_stage_before_it_writes(stage: str) -> None:
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    write_card(Path(), "amiranoor", revoked={"date": date(2026, 2, 1), "reason": "no more"})
    before = {*Path().rglob("*"), Path("logs"), Path("logs/stage.lock")}
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: data/subject.yaml: revoked: on 2026-02-01 (no more); nothing is drawn any more"
    ]
    assert set(Path().rglob("*")) <= before
