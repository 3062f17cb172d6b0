"""`pistachio init`: a whole workspace or nothing, with the photos under DVC and never in git."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result
from workspaces import write_card

from miniature.persona import photo_files
from miniature.places import DEVELOPMENT, WEIGHTS
from stages.__main__ import app
from stages.flows.code import ROOT
from stages.runtime.errors import UserError
from stages.runtime.pictures import mask_path

needs_weights = pytest.mark.skipif(not (WEIGHTS / "base").exists(), reason="needs the miniature's weights")
PHOTOS = 16


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: str | Path) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UserError), error
    return error.line


def program(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)


def settings(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "params.yaml").read_text())
    return values


def write_photos(folder: Path) -> None:
    for name, content in photo_files(DEVELOPMENT[5], PHOTOS).items():
        place = folder / "shöot 1" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (folder / "shöot 1" / "photo_01.txt").write_text("a portrait of her own making")
    photo = sorted(place for place in (folder / "shöot 1").iterdir() if place.suffix == ".jpg")[0]
    mask_path(photo).write_bytes(b"a mask")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos and the workspace made from them."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_environment(monkeypatch, folder)
        monkeypatch.chdir(folder)
        write_photos(folder / "photos")
        result = run("init", "Ada Lövelace", "--photos", "photos", "--class-word", "woman")
        assert result.exit_code == 0, (result.output, result.exception)
        write_card(folder / "Ada Lövelace", "Ada_L_velace")
        assert not program(folder / "Ada Lövelace", "git", "commit", "-qam", "Say who she is").returncode
    return folder


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, home)
    monkeypatch.chdir(home)


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, entered."""
    monkeypatch.chdir(home / "Ada Lövelace")
    return home / "Ada Lövelace"


def committed(folder: Path) -> list[str]:
    return program(folder, "git", "-c", "core.quotepath=off", "ls-files").stdout.splitlines()


@needs_weights
def test_a_new_workspace_is_whole_and_checks(workspace: Path) -> None:
    result = run("check")
    assert result.exit_code == 0, result.output
    assert program(workspace, "git", "log", "--format=%s").stdout.split("\n") == [
        "Say who she is",
        "Start the workspace of Ada_L_velace",
        "",
    ]
    assert program(workspace, "git", "status", "--porcelain").stdout == ""
    for path in ("README.md", "code.lock", "requirements.txt", "conf/config.yaml", "conf/models/auraface.yaml"):
        assert path in committed(workspace)


@needs_weights
def test_photos_and_weights_are_under_dvc_and_never_in_git(workspace: Path) -> None:
    tracked = committed(workspace)
    assert {"data/photos.dvc", "models/miniature.dvc"} <= set(tracked)
    assert not [path for path in tracked if path.startswith(("data/photos/", "models/miniature/"))]
    assert not [path for path in tracked if path.endswith((".jpg", ".png", ".onnx", ".safetensors"))]
    assert len(list((workspace / "data/photos/shöot 1").iterdir())) == PHOTOS + 2
    (mask,) = (workspace / "data/photos").rglob("*.jpg.mask.png")
    assert mask.read_bytes() == b"a mask"
    assert (workspace / "data/photos/shöot 1/photo_01.txt").read_text() == "a portrait of her own making"
    assert program(workspace, "dvc", "status", "--quiet", "data/photos.dvc", "models/miniature.dvc").returncode == 0


def test_settings_are_of_this_person_and_of_no_version_yet(workspace: Path) -> None:
    values = settings(workspace)
    assert values["dataset"] | {"photos": "data/photos"} == values["dataset"]
    assert (values["dataset"]["name"], values["dataset"]["trigger"]) == ("Ada_L_velace", "adalvelace")
    assert values["dataset"]["class_word"] == "woman"
    assert values["compare"]["baseline"] == "none"
    assert [path.name for path in (workspace / "conf/dataset").iterdir()] == ["Ada_L_velace.yaml"]
    assert "amiranoor" not in (workspace / "params.yaml").read_text()


def test_every_profile_and_recipe_of_the_workspace_composes(workspace: Path) -> None:
    from hydra import compose, initialize_config_dir

    for profile in (workspace / "conf/profile").glob("*.yaml"):
        for experiment in (workspace / "conf/experiment").glob("*.yaml"):
            with initialize_config_dir(str(workspace / "conf"), version_base=None):
                values = compose("config", [f"profile={profile.stem}", f"experiment={experiment.stem}"])
            assert values.dataset.name == "Ada_L_velace"
            assert values.compare.baseline == "none"


def test_the_pipeline_names_no_file_of_the_code(workspace: Path) -> None:
    pipeline = yaml.safe_load((workspace / "dvc.yaml").read_text())
    original = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert list(pipeline["stages"]) == list(original["stages"])
    for name, stage in pipeline["stages"].items():
        assert not [dep for dep in stage["deps"] if dep.startswith("stages/")]
        assert {"code.lock": [f"stages.{name}"]} in stage["params"]
    listed = program(workspace, "dvc", "repro", "--dry", "--allow-missing", "--force")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("> python -m stages.") == len(original["stages"])


@needs_weights
@pytest.mark.slow
def test_the_first_stages_really_run_and_follow_the_code_lock(workspace: Path) -> None:
    done = program(workspace, "dvc", "repro", "caption", "manifest")
    assert done.returncode == 0, done.stderr
    assert (workspace / "data/captions/shöot 1/photo_02.txt").read_text().startswith("adalvelace, a woman")
    assert "her own making" in (workspace / "data/captions/shöot 1/photo_01.txt").read_text()
    assert "data/captions" not in "".join(committed(workspace))
    again = program(workspace, "dvc", "repro", "caption", "manifest")
    assert "Running stage" not in again.stdout
    lock = yaml.safe_load((workspace / "code.lock").read_text())
    lock["stages"]["manifest"] = "0" * 64
    (workspace / "code.lock").write_text(yaml.safe_dump(lock))
    assert run("check").exit_code == 2
    changed = program(workspace, "dvc", "status", "caption", "manifest").stdout
    assert "manifest:" in changed
    assert "caption:" not in changed
    assert run("upgrade").output == "stages that will run again: manifest\n"
    assert run("check").exit_code == 0
    assert program(workspace, "git", "diff", "--name-only").stdout == ""


def test_without_photos_the_folder_waits_for_them_and_the_readme_says_so(home: Path) -> None:
    assert run("init", "empty", "--profile", "rtx4090_24gb", "--name", "bob", "--trigger", "yes").exit_code == 0
    workspace = home / "empty"
    assert list((workspace / "data/photos").iterdir()) == []
    assert "dvc add data/photos" in (workspace / "README.md").read_text()
    assert settings(workspace)["dataset"]["trigger"] == "yes"  # a word, not YAML's truth
    assert settings(workspace)["profile"] == "rtx4090_24gb"
    assert not (workspace / "models/miniature").exists()
    assert "/photos" in (workspace / "data/.gitignore").read_text().split()


def test_a_new_card_is_refused_until_it_is_filled_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init", "carded", "--profile", "h200_141gb", "--name", "yes").exit_code == 0
    monkeypatch.chdir(home / "carded")
    assert "data/subject.yaml" in committed(home / "carded")
    card = [line for line in run("check").stderr.splitlines() if "subject.yaml" in line]
    assert len(card) == 1
    for key in ("kind", "name", "adult", "scope", "date"):
        assert f"{key}: not filled in" in card[0]
    text = Path("data/subject.yaml").read_text()
    for key, value in {
        "kind": "synthetic",
        "name": "Eve",
        "adult": "true",
        "made_with": "drawn",
        "date": "2026-01-31",
    }.items():
        text = re.sub(rf"^{key}: null", f"{key}: {value}", text, flags=re.MULTILINE)
    Path("data/subject.yaml").write_text(text.replace("scope: []", "scope: [non-commercial]"))
    assert "subject.yaml" not in run("check").stderr


def test_missing_weights_are_named_with_the_command_that_fetches_them(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("init", "gpu", "--profile", "h200_141gb").exit_code == 0
    monkeypatch.chdir(home / "gpu")
    said = run("check").stderr
    assert "pistachio models get stable-diffusion-safety-checker" in said
    assert "pistachio models get stable-diffusion-xl-base-1.0" in said
    assert "pistachio models get auraface" in said
    assert "compare" not in said


def test_an_empty_folder_is_filled(home: Path) -> None:
    (home / "made").mkdir()
    inode = (home / "made").stat().st_ino
    assert run("init", "made", "--profile", "h200_141gb").exit_code == 0
    assert (home / "made").stat().st_ino == inode  # who stands in it stays in it


def left(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()} - {"cache", "site"}


def test_places_where_photos_must_not_lie_are_refused(home: Path) -> None:
    before = left(home)
    assert "exists and is not empty" in refusal("init", "Ada Lövelace")
    assert "exists and is not empty" in refusal("init", "photos")
    assert "lies where the code lies" in refusal("init", ROOT / "mine")
    assert "lies in the git repository" in refusal("init", "Ada Lövelace/data/inner")
    assert "no such folder" in refusal("init", "nowhere/inner")
    assert left(home) == before
    assert not (ROOT / "mine").exists()


def test_settings_that_cannot_be_are_refused(home: Path) -> None:
    before = left(home)
    assert "known: h200_141gb, mini, rtx4090_24gb" in refusal("init", "new", "--profile", "rtx")
    assert "--name: 'a/b' is no name" in refusal("init", "new", "--name", "a/b")
    assert "no such folder" in refusal("init", "new", "--photos", "none")
    (home / "photos-less").mkdir(exist_ok=True)
    assert "holds no pictures" in refusal("init", "new", "--photos", "photos-less")
    assert left(home) == before | {"photos-less"}


def test_nothing_is_left_when_the_commit_fails(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = home / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(hooks))
    before = left(home)
    assert "failed: no" in refusal("init", "new", "--profile", "h200_141gb")
    assert left(home) == before


def test_who_git_does_not_know_is_told_before_anything_is_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_NAME")
        monkeypatch.delenv(f"GIT_{role}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    before = left(home)
    assert "git: does not know who you are" in refusal("init", "new")
    assert left(home) == before


def test_upgrade_outside_a_workspace_says_how_to_make_one(home: Path) -> None:
    assert "pistachio init" in refusal("upgrade")


def test_help_teaches_both_commands_with_an_example() -> None:
    for name in ("init", "upgrade"):
        assert f"pistachio {name}" in run(name, "--help").output
