"""`pistachio serve` as a person types it: help, keys, and what it refuses to start with."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from producing import choose
from typer.testing import CliRunner, Result
from workspaces import make_workspace, write_card, write_params

from publish.__main__ import app
from publish.serve.keys import KeyRing, find_key_file
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    make_workspace(tmp_path)
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    choose()
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["serve", *words])


def refusal(*words: str) -> str:
    error = run(*words).exception
    assert isinstance(error, UserError), error
    return error.line


def test_help_teaches_with_examples() -> None:
    assert "pistachio serve keys add chatbot" in run("--help").output
    assert "curl" in run("--help").output
    for command in ("add", "list", "revoke"):
        assert f"pistachio serve keys {command}" in run("keys", command, "--help").output


def test_a_key_is_made_listed_and_revoked() -> None:
    token = run("keys", "add", "chatbot").output.strip()
    assert KeyRing(find_key_file(None)).find_owner(token) == "chatbot"
    listed = run("keys", "list").output
    assert re.fullmatch(r"chatbot  made \S+  valid\n", listed)
    assert token not in listed
    assert run("keys", "revoke", "chatbot").output == "chatbot: revoked\n"
    assert KeyRing(find_key_file(None)).find_owner(token) is None
    assert "revoked" in run("keys", "list").output


def test_it_does_not_start_without_a_key() -> None:
    assert "keys add" in refusal()


def test_it_does_not_start_without_a_valid_subject_card() -> None:
    run("keys", "add", "chatbot")
    write_card(Path(), "somebody-else")
    assert "dataset" in refusal("--port", "0")


@pytest.mark.parametrize("words", [("--port", "70000"), ("--host", "256.1.1.1", "--port", "0")])
def test_an_address_that_is_none_is_told_in_one_line(words: tuple[str, ...]) -> None:
    run("keys", "add", "chatbot")
    assert refusal(*words)


def test_a_wrong_setting_is_named(here: Path) -> None:
    run("keys", "add", "chatbot")
    (here / "params.yaml").write_text((here / "params.yaml").read_text() + "serve: {prot: 80, count_max: 40}\n")
    told = refusal()
    assert "serve.prot: unknown key" in told
    (here / "params.yaml").write_text((here / "params.yaml").read_text().replace("prot: 80, ", ""))
    assert "pictures_burst is below count_max" in refusal()


def test_pistachio_serve_is_the_same_and_its_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom publish.__main__ import app\n"
        "try: app(['serve', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'fastapi', 'uvicorn') if name in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.endswith("[]\n")
    words = [sys.executable, "-m", "stages", "serve", "keys", "list"]
    assert subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout == ""
