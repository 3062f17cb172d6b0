"""A disk that is full, read-only or not ours: one line, exit code 2, and every earlier artifact as it was."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.contracts.lora import write_lora
from stages.runtime.entry import program
from stages.runtime.files import replacing_folder, write_json
from stages.runtime.pictures import write_png
from stages.runtime.provenance import hash_path

ROOT = Path(__file__).parents[1]
NOBODY = 65534
NOISE = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)


def mount(folder: Path, *options: str) -> bool:
    return subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def make_workspace(folder: Path, faces: list[np.ndarray]) -> None:
    (folder / "photos").mkdir()
    for number, face in enumerate(faces):
        Image.fromarray(face).save(folder / "photos" / f"{number}.jpg")
    dataset = {"name": "x", "photos": "photos", "trigger": "amiranoor", "class_word": "woman"}
    sections = {"dataset": dataset, "caption": {"backend": "template"}, "machine": {"state_dir": "state"}}
    (folder / "params.yaml").write_text(yaml.safe_dump(sections))


def caption(folder: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "stages.caption"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def fill(disk: Path, pages_left: int) -> None:
    """Leave so many pages of 4 KB on the disk."""
    with (disk / "filler").open("wb", buffering=0) as stream:
        while shutil.disk_usage(disk).free > pages_left * 4096:
            stream.write(b"x" * 4096)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of error, after what progress has said."""
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if not line.startswith("caption: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def test_a_stage_on_a_full_disk_leaves_the_earlier_artifact_and_works_again_when_there_is_room(
    disk: Path, faces: list[np.ndarray]
) -> None:
    make_workspace(disk, faces)
    assert caption(disk).returncode == 0
    captions = disk / "data" / "captions"
    before = hash_path(captions)
    shutil.copyfile(disk / "photos/0.jpg", disk / "photos/new.jpg")
    fill(disk, pages_left=6)
    said = complaint(caption(disk))
    assert said.startswith(("error: data/captions", "error: state/caption"))
    assert said.endswith("No space left on device; make room (df -h .), then run again")
    assert hash_path(captions) == before
    assert [path.name for path in captions.parent.iterdir()] == ["captions"]
    (disk / "filler").unlink()
    assert caption(disk).returncode == 0
    assert (captions / "new.txt").exists()


def write_folder(path: Path, count: int) -> None:
    with replacing_folder(path) as beside:
        for number in range(count):
            (beside / str(number)).write_bytes(NOISE.tobytes())


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "a.json": lambda path, size: write_json(path, list(range(200_000 * size))),
    "a.png": lambda path, size: write_png(path, NOISE if size else NOISE[:9]),
    "a.safetensors": lambda path, size: write_lora(path, {"w": np.zeros(500_000 * size + 1, np.float32)}, {}),
    "folder": lambda path, size: write_folder(path, size),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_is_written_to_a_full_disk_is_not_half_written(
    disk: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = disk / name
    WRITERS[name](path, 0)
    before = hash_path(path)
    with pytest.raises(SystemExit) as caught, program():
        WRITERS[name](path, 1)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}")
    assert said.count("\n") == 1
    assert hash_path(path) == before
    assert list(disk.iterdir()) == [path]


def test_a_read_only_disk_is_one_line(disk: Path, faces: list[np.ndarray]) -> None:
    make_workspace(disk, faces)
    assert caption(disk).returncode == 0
    before = hash_path(disk / "data")
    shutil.copyfile(disk / "photos/0.jpg", disk / "photos/new.jpg")
    assert mount(disk, "-o", "remount,ro")
    assert "Read-only file system; make it writable" in complaint(caption(disk))
    assert hash_path(disk / "data") == before


def test_a_limit_on_file_sizes_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = ["from pathlib import Path", "from stages.runtime.entry import run_stage",
             "from stages.runtime.files import write_json",
             "run_stage(lambda: write_json(Path('a.json'), list(range(100_000))))"]  # fmt: skip
    (tmp_path / "a.json").write_text("[]")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: a.json: File too large; raise the limit on file sizes (ulimit -f)\n"
    assert (tmp_path / "a.json").read_text() == "[]"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "logs"]


# Root may write anywhere, so it becomes nobody, after everything was imported that nobody may not read.
AS_NOBODY = f"""
import os
from PIL import Image
import stages.caption
import stages.backends.caption.shared
from stages.backends.caption.template import TemplateCaptioner
from stages.runtime.provenance import describe_code
Image.init(), describe_code(TemplateCaptioner)
if os.geteuid() == 0: os.setgroups([]), os.setresgid(*[{NOBODY}] * 3), os.setresuid(*[{NOBODY}] * 3)
stages.caption.run_stage(stages.caption.main)
"""


@pytest.fixture
def theirs(faces: list[np.ndarray]) -> Iterator[Path]:
    """A workspace in which its reader may only read."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        make_workspace(Path(name), faces)
        Path(name).chmod(0o555)
        yield Path(name)
        Path(name).chmod(0o755)


def caption_as_nobody(folder: Path) -> subprocess.CompletedProcess[str]:
    env, command = os.environ | {"PYTHONPATH": str(ROOT)}, [sys.executable, "-c", AS_NOBODY]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_folder_that_belongs_to_somebody_else_is_one_line(theirs: Path) -> None:
    said = complaint(caption_as_nobody(theirs))
    assert said == "error: logs: Permission denied; make it writable, or work in another folder"
    assert sorted(path.name for path in theirs.iterdir()) == ["params.yaml", "photos"]


def test_a_photo_that_nobody_may_read_is_named(theirs: Path) -> None:
    theirs.chmod(0o777)
    (theirs / "photos" / "3.jpg").chmod(0)
    said = complaint(caption_as_nobody(theirs))
    assert said == "error: photos/3.jpg: cannot be read (Permission denied); replace or remove it"
    assert not (theirs / "data").exists()


def test_a_subfolder_that_nobody_may_look_into_is_named_and_its_photos_are_not_left_out(theirs: Path) -> None:
    theirs.chmod(0o777)
    (theirs / "photos" / "holiday").mkdir(mode=0)
    said = complaint(caption_as_nobody(theirs))
    assert said.startswith("error: photos/holiday: Permission denied")
    assert not (theirs / "data").exists()
