"""`pistachio check` finds what would stop a stage from starting or from writing."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from drawing import PERSONA
from workspaces import write_card

from miniature.render import render, sample_identity, sample_scene
from stages.flows import check
from stages.flows.check import list_problems
from stages.runtime.pictures import write_png
from stages.runtime.turns import take_turn

ROOT = Path(__file__).parents[2]


def draw_photos(folder: Path, count: int = 12) -> None:
    for number in range(count):
        write_png(folder / f"{number:02d}.png", render(sample_identity(PERSONA), sample_scene(number), 64).image)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The committed params.yaml, photos, and everything else that it names, empty."""
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["compare"]["baseline"] = "none"
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    write_card(tmp_path, values["dataset"]["name"])
    for path in (ROOT / "miniature" / "weights").rglob("*"):
        if path.is_dir():
            (tmp_path / path.relative_to(ROOT)).mkdir(parents=True, exist_ok=True)
    draw_photos(tmp_path / "data" / "photos")
    return tmp_path


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_workspace_in_which_everything_is_there_has_no_problems(workspace: Path) -> None:
    assert list_problems() == []


def test_training_with_class_images_that_nobody_makes_is_said_before_it_starts(workspace: Path) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["regularize"]["source"] = "none"
    Path("params.yaml").write_text(yaml.safe_dump(values))
    (problem,) = list_problems()
    assert problem == "train.prior_batch: is 2, but regularize.source is none; set it to 0, or the source to base"
    values["train"]["prior_batch"] = 0
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert list_problems() == []


def test_photos_that_hurt_and_settings_that_are_wrong_are_named_together(workspace: Path) -> None:
    (workspace / "data/photos/bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    (workspace / "data/photos/worse.heic").write_bytes(b"")
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["train"]["rank"] = 0
    Path("params.yaml").write_text(yaml.safe_dump(values))
    lines = list_problems()
    assert [line.split(":")[0] for line in lines] == ["train.rank", "data/photos/bad.jpg", "data/photos/worse.heic"]
    assert list_problems(files=False) == lines[:1]


@pytest.mark.parametrize("out", ["data/photos", "data"])
def test_photos_that_dvc_has_yet_to_bring_are_not_asked_for(workspace: Path, out: str) -> None:
    shutil.rmtree("data/photos")
    assert any("dataset.photos" in line for line in list_problems())
    Path(f"{out}.dvc").touch()
    assert list_problems() == []


def test_a_disk_without_room_is_said_to_have_none(workspace: Path, mounted: Path, monkeypatch) -> None:
    shutil.copytree(workspace, mounted, dirs_exist_ok=True, ignore=shutil.ignore_patterns("disk"))
    monkeypatch.chdir(mounted)
    (line,) = list_problems()
    assert line.endswith("MB are free, 256 are the least; make room (df -h .), then run again")


def test_a_folder_that_cannot_be_written_is_named(workspace: Path, mounted: Path, monkeypatch) -> None:
    shutil.copytree(workspace, mounted, dirs_exist_ok=True, ignore=shutil.ignore_patterns("disk"))
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    monkeypatch.chdir(mounted)
    monkeypatch.setattr(check, "LEAST_FREE_MB", 0)
    lines = list_problems()
    todo = "cannot be written; make it writable, or work in another folder"
    assert lines == [f"{folder}: {todo}" for folder in (".", "data")]


def test_a_stage_that_is_at_work_is_said_to_be(workspace: Path) -> None:
    with take_turn():
        (line,) = list_problems()
    assert line.endswith("a stage is at work in this folder; wait for it, or end it")
    assert list_problems() == []


@pytest.mark.parametrize(("free", "said"), [(256_000_000, []), (255_999_999, ["255 MB are free, 256 are the least"])])
def test_room_is_counted_in_megabytes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, free: int, said: list[str]
) -> None:
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert [line.split(": ")[1].split(";")[0] for line in list_problems()] == said


@pytest.mark.parametrize(
    ("section", "changes", "keys"),
    [
        ("regularize", {"source": "base", "base": "no/1"}, ["regularize.base"]),
        ("regularize", {"source": "folder", "folder": "no/1", "base": "no/2"}, ["regularize.folder"]),
        ("regularize", {"source": "urls", "urls": "no/1", "folder": "no/2"}, ["regularize.urls"]),
        ("train", {"base": "no/1"}, ["train.base"]),
        ("sweep", {"bases": ["data", "no/1", "no/2"]}, ["sweep.bases.1", "sweep.bases.2"]),
        ("caption", {"backend": "florence2", "model": "no/1"}, ["caption.model"]),
        ("caption", {"backend": "template", "model": "no/1"}, []),
        ("judges", {"second": {"path": "no/1", "licence": "x"}}, ["judges.second.path"]),
        ("judges", {"text_image": {"path": "no/1", "licence": "x"}}, ["judges.text_image.path"]),
    ],
)  # fmt: skip
def test_what_settings_name_and_is_not_there_is_named_by_its_key(
    workspace: Path, section: str, changes: dict[str, object], keys: list[str]
) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values[section] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert [line.split(":")[0] for line in list_problems()] == keys
    assert list_problems(files=False) == []


def test_class_images_without_weight_need_nobody_to_make_them(workspace: Path) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text())
    values["regularize"]["source"] = "none"
    values["train"]["prior_weight"] = 0.0
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert list_problems() == []
