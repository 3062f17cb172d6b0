"""`pistachio models` as a person types it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result
from web import Web, serve

from stages.__main__ import app
from stages.flows import downloads
from stages.runtime.errors import UserError

BODIES = {"small": b"weights", "other": b"more weights", "judge": b"a face"}


@pytest.fixture(autouse=True)
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "PAUSE_S", 0.01)
    with serve() as server:
        for name, body in BODIES.items():
            group = "judges" if name == "judge" else "base"
            server.files[f"/{group}/{name}/weights.bin"] = body
            write_yaml(
                Path(f"conf/models/{name}.yaml"),
                {
                    "folder": f"models/{group}/{name}", "licence": "MIT", "non_commercial": name == "judge",
                    "url": "http://127.0.0.1:9", "files": {"weights.bin": {"size": len(body), "sha256": digest(body)}},
                },
            )  # fmt: skip
        write_yaml(
            Path("conf/profile/gpu.yaml"), {"models": {"base": "models/base/small", "faces": "models/judges/judge"}}
        )
        write_yaml(Path("conf/profile/tiny.yaml"), {"models": {"base": "weights/base"}})
        monkeypatch.setenv("PISTACHIO_MIRROR", server.address)
        yield server


def write_yaml(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values))


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def refusal(*arguments: str) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UserError), error
    return error.line


def test_a_profile_s_models_are_fetched_from_the_mirror_and_verified() -> None:
    result = run("get", "--profile", "gpu")
    assert result.exit_code == 0, result.output
    assert Path("models/base/small/weights.bin").read_bytes() == b"weights"
    assert Path("models/judges/judge/weights.bin").exists()
    assert not Path("models/base/other").exists()
    states = {state["name"]: state for state in json.loads(run("list", "--json").output)}
    assert [states[name]["verified"] for name in ("judge", "other", "small")] == [True, False, True]
    assert states["judge"]["non_commercial"]
    table = run("list").output
    assert "MIT" in table
    assert "models/judges" in table


def test_names_and_all_and_nothing_to_do(web: Web) -> None:
    assert "other: models/base/other" in run("get", "other").output
    assert "small: models/base/small" in run("get", "--all").output
    assert web.asked["/base/other/weights.bin"] == 1
    assert "names no model of conf/models" in run("get", "--profile", "tiny").output


def test_verify_ends_with_code_1_when_a_file_has_rotted() -> None:
    assert "no model of conf/models is here" in run("verify").output
    run("get", "small")
    whole = run("verify")
    assert (whole.exit_code, whole.output) == (0, "small: 1 files, as conf/models says\n")
    Path("models/base/small/weights.bin").write_bytes(b"wEights")
    rotten = run("verify")
    assert rotten.exit_code == 1
    assert "models/base/small/weights.bin: has sha256" in rotten.output
    assert "1 of 1" not in run("list").output
    assert run("verify", "other").exit_code == 1


def test_one_rotten_model_is_code_1_whatever_is_right_after_it() -> None:
    run("get", "--all")
    Path("models/judges/judge/weights.bin").write_bytes(b"A face")
    result = run("verify")
    assert result.output.splitlines()[-1] == "small: 1 files, as conf/models says"
    assert result.exit_code == 1


def test_a_local_folder_takes_precedence_over_every_address(tmp_path: Path, web: Web) -> None:
    (tmp_path / "have").mkdir()
    (tmp_path / "have/weights.bin").write_bytes(b"weights")
    assert run("get", "small", "--from", "have").exit_code == 0
    assert not web.asked


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["get"], "say which; NAME..., --profile PROFILE or --all"),
        (["get", "small", "--all"], "say which"),
        (["get", "smal"], "no model 'smal' in conf/models; known: judge, other, small"),
        (["get", "--profile", "gpuu"], "no profile 'gpuu'; known: gpu, tiny"),
        (["verify", "smal"], "no model 'smal'"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(arguments: list[str], said: str) -> None:
    assert said in refusal(*arguments)


def test_help_teaches_every_command_with_an_example() -> None:
    for name in ("list", "get", "verify"):
        assert f"pistachio models {name}" in run(name, "--help").output
