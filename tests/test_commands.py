"""The `pistachio` command: every command as a person types it, its exit code and its one line of error."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result
from workspaces import write_card

from miniature.render import render, sample_identity, sample_scene
from stages.__main__ import app
from stages.contracts.scorecard import Scorecard
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

ROOT = Path(__file__).parent.parent
PACK = ROOT / "miniature/weights/faces/models/miniature"
COMMANDS = ("check", "where", "promote", "history", "score", "manifest", "caption")
needs_pack = pytest.mark.skipif(not (PACK / "rec.onnx").exists(), reason="the miniature's face pack is not there")
WriteRun = Callable[..., Scorecard]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write_params(**changed: dict[str, Any]) -> None:
    """The committed params.yaml with sections changed key by key."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["compare"]["baseline"] = "none"
    for name, section in changed.items():
        values[name] |= section
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def refusal(*arguments: str) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UserError), error
    return error.line


def pistachio(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stages", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def draw_person(folder: Path, person: int, scenes: range) -> None:
    for scene in scenes:
        picture = render(sample_identity(person), sample_scene(scene, eyewear="none", hat="none"), 64).image
        write_png(folder / f"{scene:03d}.png", picture)


def test_help_teaches_every_command_with_an_example() -> None:
    listing = run("--help").output
    for name in COMMANDS:
        assert name in listing
        assert f"pistachio {name}" in run(name, "--help").output


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    before = os.times().children_user
    assert pistachio("--help").returncode == 0
    assert os.times().children_user - before < 0.5  # CPU seconds
    code = (
        "import sys, stages.__main__; print([m for m in ('numpy', 'torch', 'pandas', 'pydantic') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert loaded.stdout.strip() == "[]"


def test_bad_input_is_one_line_and_code_2_as_a_program() -> None:
    done = pistachio("promote", "v3")
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: not found")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_check_finds_nothing_wrong_in_a_good_workspace() -> None:
    write_params(
        dataset={"photos": "photos"},
        train={"base": "base"},
        regularize={"base": "base"},
        sweep={"bases": ["base"]},
        caption={"backend": "template"},
        judges={name: {"path": name, "licence": "MIT"} for name in ("faces", "second", "text_image")},
    )
    for folder in ("base", "faces", "second", "text_image"):
        Path(folder).mkdir()
    draw_person(Path("photos"), 11, range(12))
    write_card(Path(), yaml.safe_load(Path("params.yaml").read_text())["dataset"]["name"])
    assert run("check").exit_code == 0, run("check").output


def test_check_names_every_problem_on_a_line_of_its_own() -> None:
    write_params(
        train={"stepps": 3, "rank": 0}, dataset={"photos": "nowhere"},
        compare={"baseline": "v9", "guarded": ["likenes"]},
        caption={"backend": "nothing:Here"},
    )  # fmt: skip
    result = run("check")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    for said in ("train.stepps: unknown key", "train.rank:", "dataset.photos: nowhere is not there",
                 "no version 'v9'", "no such metric: likenes", "caption.backend"):  # fmt: skip
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert all(line.startswith("error: ") for line in lines)


@pytest.mark.parametrize(
    ("caption", "line"),
    [
        ({"backend": "florence2", "model": "nowhere"}, "caption.model: nowhere is not there"),
        ({"backend": "template", "model": None}, "caption.model: not set"),
        ({"drop": ["photo of amiranoor"]}, "caption.drop: 'photo of amiranoor' names the trigger 'amiranoor'"),
    ],
)
def test_check_knows_what_the_caption_stage_would_refuse(caption: dict[str, Any], line: str) -> None:
    write_params(caption=caption)
    assert sum(line in said for said in run("check").stderr.splitlines()) == 1


def test_check_trusts_dvc_to_bring_what_it_makes() -> None:
    write_params(dataset={"photos": "data/photos"})
    assert "dataset.photos" in run("check").stderr
    Path("small").mkdir()
    stage = {"cmd": "true", "wdir": "..", "outs": [{"data/photos": {"cache": True}}]}
    Path("small/dvc.yaml").write_text(yaml.safe_dump({"stages": {"photos": stage}}))
    assert "dataset.photos" not in run("check").stderr


def test_check_of_settings_alone_asks_for_no_file() -> None:
    write_params()
    assert run("check").exit_code == 2
    assert run("check", "--settings").exit_code == 0


def test_check_as_a_program_names_every_photo_that_hurts_on_a_line_that_a_terminal_can_show() -> None:
    write_params(dataset={"photos": "photos"})
    draw_person(Path("photos"), 11, range(12))
    Path("photos/two\nlines \x1b[2J.png").write_bytes(b"")
    Path("photos/\udcff.png").write_bytes(b"")
    done = pistachio("check")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "photos/" in line]
    assert lines == [
        "error: photos/two lines \\x1b[2J.png: not a readable picture (the file is empty); replace or remove it",
        "error: photos/\\udcff.png: the file name is not UTF-8; rename the file",
    ]


def test_check_as_a_program_ends_with_code_2() -> None:
    write_params(train={"stepps": 3})
    done = pistachio("check", "--settings")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: train.stepps: unknown key (value 3)\n"


def test_promote_then_history(write_run: WriteRun) -> None:
    write_params()
    write_run(Path("metrics"), "v3")
    result = run("promote", "v3")
    assert result.exit_code == 0, result.output
    assert "judged by faces: non-commercial research only" in result.output
    assert "No git work tree here" in result.output
    assert "git add metrics/versions/v3" in result.output
    assert re.search(r"v3 .* B .* 0\.720", run("history").output)
    rows = json.loads(run("history", "--json").output)
    assert [(row["name"], row["forced"]) for row in rows] == [("v3", False)]


def test_promote_is_refused_and_forced(write_run: WriteRun) -> None:
    write_params(thresholds={"promotion_grade": "A"})
    write_run(Path("metrics"), "v3")
    assert "grade B (0.720) is below A" in refusal("promote", "v3", "--no-tag")
    result = run("promote", "v3", "--no-tag", "--force", "--why", "the demo needs one")
    assert result.exit_code == 0
    assert "overruled: grade B" in result.output
    assert "the demo needs one" in run("history").output


def test_history_of_nothing_says_how_to_begin() -> None:
    assert "pistachio promote NAME" in run("history").output
    assert json.loads(run("history", "--json").output) == []


def test_where_says_what_is_there(write_run: WriteRun) -> None:
    assert "not made yet" in run("where").output
    write_run(Path("metrics"), "v3")
    output = run("where").output
    assert "v3: grade B (0.720)" in output
    assert "use models/lora/v3.safetensors with strength 1" in output


@needs_pack
def test_score_compares_a_folder_with_references_and_counts_a_lost_face_as_a_failure() -> None:
    draw_person(Path("references"), 11, range(8))
    draw_person(Path("own"), 11, range(20, 24))
    write_png(Path("own/sub/wall.png"), np.full((64, 64, 3), 120, np.uint8))
    write_params(judges=judges())
    scores = json.loads(run("score", "own", "--references", "references", "--json").output)
    assert [p["file"] for p in scores["pictures"]] == ["020.png", "021.png", "022.png", "023.png", "sub/wall.png"]
    assert scores["pictures"][-1] == {"file": "sub/wall.png", "face_found": False, "similarity": 0.0, "passed": False}
    assert scores["detection_rate"] == 0.8
    assert scores["similarity_mean"] == pytest.approx(np.mean([p["similarity"] for p in scores["pictures"]]))
    assert scores["licence"] == "test"
    table = run("score", "own", "--references", "references").output
    assert "sub/wall.png" in table
    assert "no face" in table
    assert not Path("logs").exists()


@needs_pack
def test_score_tells_the_person_from_another() -> None:
    draw_person(Path("references"), 11, range(8))
    draw_person(Path("own"), 11, range(20, 26))
    draw_person(Path("other"), 12, range(20, 26))
    write_params(judges=judges())
    means = [
        json.loads(run("score", who, "--references", "references", "--json").output)["similarity_mean"]
        for who in ("own", "other")
    ]
    assert means[0] > means[1] + 0.2


@needs_pack
def test_score_takes_threshold_and_pack_from_the_command_line_then_params_then_the_schema() -> None:
    draw_person(Path("references"), 11, range(3))
    arguments = ["score", "references", "--references", "references", "--json"]
    given = ["--pack", str(PACK), "--detection-size", "128"]
    assert json.loads(run(*arguments, *given).output)["threshold"] == 0.60
    write_params(judges=judges(), thresholds={"face_pass": 0.3})
    from_params = json.loads(run(*arguments).output)
    assert (from_params["threshold"], from_params["licence"]) == (0.3, "test")
    said = json.loads(run(*arguments, "--threshold", "0.45").output)
    assert said["threshold"] == 0.45
    shutil.copytree(PACK, "mine")
    other = json.loads(run(*arguments, "--pack", "mine").output)
    assert other["licence"].startswith("not stated")
    assert other["pictures"] == from_params["pictures"]


def test_score_without_any_pack_says_so() -> None:
    draw_person(Path("references"), 11, range(1))
    assert "--pack: no face pack is named" in refusal("score", "references", "--references", "references")


@needs_pack
def test_score_of_a_folder_that_is_not_there_is_refused() -> None:
    write_params(judges=judges())
    assert "nowhere: no such folder" in refusal("score", "nowhere", "--references", "nowhere")


def judges() -> dict[str, Any]:
    kept = yaml.safe_load((ROOT / "params.yaml").read_text())["judges"]
    return kept | {"faces": {"path": str(PACK), "licence": "test", "detection_size": 128}}


@needs_pack
def test_manifest_is_built_compared_and_verified() -> None:
    text_image = {"path": str(ROOT / "miniature/weights/clip"), "licence": "test"}
    settings = {"photos": "photos", "holdout_min": 2, "duplicate_distance": 0}
    write_params(dataset=settings, judges=judges() | {"text_image": text_image})
    draw_person(Path("photos"), 11, range(8))
    for number in range(8):
        Path("captions").mkdir(exist_ok=True)
        Path(f"captions/{number:03d}.txt").write_text(f"amiranoor, photo {number}")
    built = run("manifest", "photos", "--output", "a.json", "--captions", "captions")
    assert built.exit_code == 0, built.output
    assert "a.json: 8 photos" in built.output
    assert run("manifest", "--verify", "a.json").exit_code == 0
    assert run("manifest", "--compare", "a.json", "a.json").exit_code == 0
    Path("captions/003.txt").write_text("amiranoor, on a beach")
    rotten = run("manifest", "--verify", "a.json")
    assert rotten.exit_code == 1
    assert "captions/003.txt: changed" in rotten.output
    Path("photos/001.png").unlink()
    write_png(Path("photos/002.png"), np.zeros((64, 64, 3), np.uint8))
    write_png(Path("photos/new.png"), np.zeros((64, 64, 3), np.uint8))
    listed = run("manifest", "--verify", "a.json", "--json")
    assert listed.exit_code == 1
    assert [line.split(" (")[0] for line in json.loads(listed.output)] == [
        "photos/001.png: missing", "photos/002.png: changed", "captions/003.txt: changed",
        "photos/new.png: not in the manifest",
    ]  # fmt: skip
    shutil.rmtree("photos")
    draw_person(Path("photos"), 11, range(8))
    run("manifest", "photos", "--output", "b.json", "--captions", "captions")
    differs = run("manifest", "--compare", "a.json", "b.json")
    assert differs.exit_code == 1
    assert "on a beach" in differs.output
    change = json.loads(run("manifest", "--compare", "a.json", "b.json", "--json").output)
    assert [c["filename"] for c in change["changed_captions"]] == ["003.png"]


def test_manifest_to_verify_or_compare_that_is_not_there_or_is_none_is_one_line() -> None:
    Path("b.json").write_text('{"name": "x"}')
    for arguments in (["--verify"], ["--verify", "b.json"], ["--compare", "b.json", "a.json"]):
        done = pistachio("manifest", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("arguments", [[], ["photos"], ["--verify", "--compare", "a.json", "b.json"]])
def test_manifest_with_nothing_or_too_much_to_do_is_refused(arguments: list[str]) -> None:
    assert "say one thing to do" in refusal("manifest", *arguments)
