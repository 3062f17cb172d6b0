"""API keys: only their hashes are kept, and a revoked one ends at once."""

import json
import os
from pathlib import Path

import pytest

from publish.serve.keys import KeyRing, add_key, find_key_file, hash_token, read_keys, revoke_key
from stages.runtime.errors import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "keys.json"


def test_a_key_opens_until_it_is_revoked_without_a_restart(path: Path) -> None:
    ring = KeyRing(path)
    token = add_key(path, "chatbot")
    assert ring.find_owner(token) == "chatbot"
    revoke_key(path, "chatbot")
    assert ring.find_owner(token) is None


def test_the_file_has_no_key_in_it_and_nobody_else_reads_it(path: Path) -> None:
    token = add_key(path, "chatbot")
    text = path.read_text()
    assert token not in text
    assert token.removeprefix("pst_") not in text
    assert hash_token(token) in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_keys_are_256_random_bits(path: Path) -> None:
    tokens = {add_key(path, f"c{number}") for number in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == len("pst_") + 43 for token in tokens)


@pytest.mark.parametrize("token", ["", "pst_", "chatbot", "pst_" + "A" * 43, "\udcff", "x" * 100_000])
def test_a_wrong_key_opens_nothing(path: Path, token: str) -> None:
    add_key(path, "chatbot")
    assert KeyRing(path).find_owner(token) is None


def test_a_hash_is_no_key(path: Path) -> None:
    assert KeyRing(path).find_owner(hash_token(add_key(path, "chatbot"))) is None


def test_a_new_key_of_an_old_name_opens_and_the_old_one_does_not(path: Path) -> None:
    old = add_key(path, "chatbot")
    with pytest.raises(UserError, match="revoke"):
        add_key(path, "chatbot")
    revoke_key(path, "chatbot")
    ring = KeyRing(path)
    assert (ring.find_owner(add_key(path, "chatbot")), ring.find_owner(old)) == ("chatbot", None)
    assert [bool(key.revoked) for key in read_keys(path)] == [True, False]


@pytest.mark.parametrize("name", ["", "../x", "a b", "ä", "x" * 65, "-x"])
def test_a_name_is_a_word(path: Path, name: str) -> None:
    with pytest.raises(UserError, match="letters"):
        add_key(path, name)
    assert not path.exists()


def test_revoking_nobody_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="no valid key"):
        revoke_key(path, "nobody")


def test_a_file_that_others_may_read_opens_nothing(path: Path) -> None:
    token = add_key(path, "chatbot")
    ring = KeyRing(path)
    path.chmod(0o644)
    os.utime(path)
    with pytest.raises(UserError, match="chmod 600"):
        ring.find_owner(token)


def test_a_spoilt_file_opens_nothing(path: Path) -> None:
    token = add_key(path, "chatbot")
    ring = KeyRing(path)
    path.write_text(json.dumps({"keys": [{"name": "x"}]}))
    for _ in range(2):
        with pytest.raises(UserError):
            ring.find_owner(token)


def test_the_keys_lie_outside_the_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find_key_file(None) == tmp_path / "pistachio/serve_keys.json"
    assert find_key_file(Path("own.json")) == Path("own.json")
