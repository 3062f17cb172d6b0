"""The prompt policy: the owner's list, negative prompts, and the log of refusals."""

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.contracts.policy import Policy, Refused
from stages.contracts.settings import Machine
from stages.flows.policy import LONGEST, PromptPolicy, open_policy

LOG = Path("logs/refusals.jsonl")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(text: str, negative: str = "", *rules: str, log_prompts: bool = True) -> str:
    try:
        open_policy(Policy(refuse=rules, log_prompts=log_prompts), Machine()).check(text, negative)
    except Refused as error:
        return error.rule
    return ""


def test_what_nobody_forbids_is_drawn_and_leaves_no_trace() -> None:
    assert refused("a woman, smiling") == ""
    assert not LOG.exists()


@pytest.mark.parametrize("prompt", ["a pint of ACME  Corp beer", "acme-corp", "âcme corp", "4cme c0rp"])
def test_a_phrase_of_the_owner_s_list_is_found_however_it_is_written(prompt: str) -> None:
    assert refused(prompt, "", "Acme corp") == "refuse"
    assert refused("acmecorporation", "", "Acme corp") == ""


def test_a_pattern_of_the_owner_s_list_is_searched() -> None:
    assert refused("a NUDE study", "", r"/\bnud(e|ity)\b/") == "refuse"
    assert refused("denude", "", r"/\bnud(e|ity)\b/") == ""


@pytest.mark.parametrize("rule", ["", " ", "//", "/(/", "/a*/"])
def test_a_rule_that_is_none_is_named(rule: str) -> None:
    with pytest.raises(ValidationError):
        Policy(refuse=(rule,))


def test_a_negative_prompt_may_name_minors_and_may_not_keep_adults_away() -> None:
    assert refused("a woman", "child, teen, blurry, old photo") == ""
    assert refused("a woman", "blurry, adults") == "negative"
    assert refused("a woman", "grown-up woman") == "negative"


def test_what_nobody_could_read_is_refused() -> None:
    assert refused("x " * LONGEST) == refused("a woman", "x " * LONGEST) == "length"


def test_every_refusal_is_a_line_with_the_prompt_that_the_owner_can_judge() -> None:
    refused("a girl", "blurry")
    refused("16yo")
    rows = [json.loads(line) for line in LOG.read_text().splitlines()]
    assert [row["rule"] for row in rows] == ["minors", "minors"]
    assert rows[0]["prompt"] == "a girl"
    assert rows[0]["negative_prompt"] == "blurry"
    assert rows[0]["prompt_sha256"] == hashlib.sha256(b"a girl").hexdigest()
    assert LOG.stat().st_mode & 0o077 == 0


def test_without_log_prompts_only_the_hash_is_kept() -> None:
    refused("a girl", log_prompts=False)
    assert "girl" not in LOG.read_text()
    assert set(json.loads(LOG.read_text())) == {"time", "rule", "prompt_sha256"}


def test_a_log_that_grew_too_large_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.flows.policy.LOG_BYTES", 100)
    for _ in range(3):
        refused("a girl")
    assert LOG.with_suffix(".old.jsonl").is_file()
    assert len(LOG.read_text().splitlines()) <= 2


def test_looking_without_checking_leaves_no_trace() -> None:
    found = PromptPolicy(Policy()).find_objection("a girl")
    assert found is not None
    assert found.rule == "minors"
    assert not LOG.exists()
