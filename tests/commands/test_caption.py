"""`pistachio caption DIR` and `pistachio caption lint`, as a person types them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from stages.__main__ import app
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
WORDS = ("--trigger", "ohwx", "--class-word", "woman")
TEMPLATE = ("--backend", "template", *WORDS)
DATASET = {"name": "x", "photos": "elsewhere", "trigger": "sks", "class_word": "man"}


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: list[np.ndarray]) -> Path:
    """Five photos: one in a subfolder, two that differ in suffix only, one captioned by hand."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    folder = Path("my photos")
    for name, face in zip(["a.jpg", "a.png", "b.png", "c.jpg", "am Meer/d.png"], faces, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / name)
    (folder / "b.txt").write_text("by hand\n", encoding="utf-8")
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["caption", *arguments])


def said(*arguments: str, code: int = 0) -> str:
    result = run(*arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def refusal(*arguments: str) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UserError), error
    return error.line


def texts(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8") for p in folder.rglob("*.txt")}


def write_params(**caption: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({"dataset": DATASET, "caption": caption}))


def write_captions(folder: Path, *captions: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(captions):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")


def test_every_photo_gets_a_caption_beside_it_and_one_by_hand_stays(photos: Path) -> None:
    output = said("my photos", *TEMPLATE)
    assert texts(photos) == {
        "b.txt": "by hand\n", **dict.fromkeys(["a.jpg.txt", "a.png.txt", "am Meer/d.txt", "c.txt"],
                                              "ohwx, a photo of a woman"),
    }  # fmt: skip
    assert "1/4 my photos/a.jpg.txt: ohwx, a photo of a woman" in output
    assert "4 captions written, 1 kept" in output
    assert "0 captions written, 5 kept" in said("my photos", *TEMPLATE)
    assert not Path("logs").exists()  # the heartbeat is a stage's


def test_the_long_form_and_options_in_front_mean_the_same(photos: Path) -> None:
    said("write", "my photos", *TEMPLATE)
    before = texts(photos)
    assert "0 captions written, 5 kept" in said(*TEMPLATE, "my photos")
    assert texts(photos) == before


def test_overwriting_is_said_and_reaches_the_file_that_is_read(photos: Path) -> None:
    (photos / "c.jpg.txt").write_text("by hand too")
    said("my photos", *TEMPLATE, "--overwrite")
    assert set(texts(photos)) == {"b.txt", "a.jpg.txt", "a.png.txt", "am Meer/d.txt", "c.jpg.txt"}
    assert set(texts(photos).values()) == {"ohwx, a photo of a woman"}


def test_a_dry_run_says_what_would_be_written_where_and_writes_nothing(photos: Path) -> None:
    output = said("my photos", "--dry-run", "--backend", "blip2", "--model", "not/there/yet", *WORDS)
    assert "my photos/am Meer/d.txt" in output
    assert output.count("caption by blip2") == 4
    assert output.count("kept") == 1
    assert "4 of 5 captions would be written" in output
    assert set(texts(photos)) == {"b.txt"}


def test_another_folder_gets_the_captions_in_the_photos_layout_and_a_copy_of_those_by_hand(photos: Path) -> None:
    (Path("out") / "am Meer").mkdir(parents=True)
    Path("out/am Meer/d.txt").write_text("mine")
    output = said("my photos", "--output", "out", *TEMPLATE)
    assert "4 captions written, 1 kept" in output
    generic = "ohwx, a photo of a woman"
    assert texts(Path("out")) == {"a.jpg.txt": generic, "a.png.txt": generic, "b.txt": "ohwx, by hand",
                                  "c.txt": generic, "am Meer/d.txt": "mine"}  # fmt: skip
    assert texts(photos) == {"b.txt": "by hand\n"}
    said("my photos", "--output", "out", *TEMPLATE, "--overwrite")
    assert set(texts(Path("out")).values()) == {generic}
    assert texts(photos) == {"b.txt": "by hand\n"}


def test_subfolders_can_be_left_out(photos: Path) -> None:
    said("my photos", "--no-recursive", *TEMPLATE)
    assert "am Meer/d.txt" not in texts(photos)
    assert len(texts(photos)) == 4


def test_the_command_line_overrules_params_and_params_the_schema(photos: Path) -> None:
    write_params(backend="template", template="{trigger}, the {class_word}")
    said("my photos", "--output", "1")
    said("my photos", "--output", "2", "--trigger", "ohwx")
    said("my photos", "--output", "3", "--class-word", "boy")
    assert [texts(Path(n))["c.txt"] for n in "123"] == ["sks, the man", "ohwx, the man", "sks, the boy"]
    write_params(template="{trigger}, the {class_word}")
    assert "caption.model: not set" in refusal("my photos", "--output", "4")  # the schema's default is blip2
    said("my photos", "--output", "4", "--backend", "template")
    assert texts(Path("4"))["c.txt"] == "sks, the man"


def test_a_real_model_describes_a_folder(photos: Path) -> None:
    model = ROOT / "miniature" / "weights" / "captioner"
    said("my photos", "--model", str(model), *WORDS)
    captions = texts(photos)
    assert captions.pop("b.txt") == "by hand\n"
    assert all(text.startswith("ohwx, a ") and "background" in text for text in captions.values())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere", *TEMPLATE), "nowhere: no such folder"),
        (("my photos",), "--trigger and --class-word: not given"),
        (("my photos", "--trigger", "ohwx"), "--class-word: not given"),
        (("my photos", "--trigger", " ohwx", "--class-word", "woman"), "trigger: empty, or blanks around it"),
        (("my photos", *WORDS, "--backend", "magic"), "module:Class"),
        (("my photos", *WORDS, "--backend", "florence2", "--model", "nowhere"), "nowhere: no model folder"),
        (("my photos", *TEMPLATE, "--output", "my photos/b.txt"), "is not a folder"),
    ],
)
def test_bad_input_is_refused_on_one_line_and_nothing_is_written(
    photos: Path, arguments: tuple[str, ...], line: str
) -> None:
    assert line in refusal(*arguments)
    assert texts(photos) == {"b.txt": "by hand\n"}


def test_as_a_program_bad_input_ends_with_code_2() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages", "caption", "nowhere", *TEMPLATE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere: no such folder")


SLOW = """
import time
from pathlib import Path

class Slow:
    def __init__(self, *settings):
        pass
    def captions(self, images):
        for image in images:
            time.sleep(0.3)
            with Path("asked.txt").open("a") as log:
                log.write("x")
            yield f"{image.mean():.4f} bright"
"""


def test_overwriting_continues_after_kill_9_without_asking_twice(photos: Path) -> None:
    Path("slow.py").write_text(SLOW)
    write_params(micro_batch=1)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stages", "caption", "my photos", "--backend", "slow:Slow", "--overwrite"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (Path("asked.txt").exists() and len(Path("asked.txt").read_text()) >= 2) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    again = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert "caption: resumed, " in again.stderr
    assert " of 5 photos were done" in again.stderr
    assert len(Path("asked.txt").read_text()) <= 6
    assert "5 captions written" in again.stdout
    assert all(text.startswith("sks, ") and text.endswith(" bright") for text in texts(photos).values())


SHARED = ("ohwx, the image shows a woman, smiling, red dress", "ohwx, The image shows a woman, sad, blue hat",
          "ohwx, the  image shows a woman. Green shoes", "ohwx, a woman, the image shows a white coat")  # fmt: skip


def test_lint_lists_what_nearly_every_caption_says_and_ends_with_code_1() -> None:
    write_captions(Path("data/captions"), *SHARED)
    output = said("lint", *WORDS, code=1)
    assert "the image shows a" in output
    assert "4 of 4" in output
    assert "100%" in output
    report = json.loads(said("lint", "data/captions", *WORDS, "--json", "--share", "0.9", code=1))
    assert report["findings"] == [{"fragment": "the image shows a", "count": 4, "share": 1.0}]
    assert (report["captions"], report["share"], report["written"], report["edits"]) == (4, 0.9, False, [])


def test_lint_of_varied_captions_finds_nothing_and_ends_with_code_0(photos: Path) -> None:
    write_captions(Path("data/captions"), "ohwx, a woman, smiling", "ohwx, a woman, sad", "ohwx, a woman at home")
    assert "3 captions: nothing but trigger and class word" in said("lint", *WORDS)


def test_a_dropped_fragment_is_gone_from_every_file_and_the_others_are_not_touched() -> None:
    folder = Path("captions")
    write_captions(folder, *SHARED, "without\n")
    before = (folder / "4.txt").stat().st_mtime_ns
    output = said("lint", "captions", *WORDS, "--drop", "The image shows", "--drop", "red dress")
    assert [texts(folder)[f"{n}.txt"] for n in range(5)] == [
        "ohwx, a woman, smiling", "ohwx, a woman, sad, blue hat", "ohwx, a woman. Green shoes",
        "ohwx, a woman, a white coat", "without\n",
    ]  # fmt: skip
    assert (folder / "4.txt").stat().st_mtime_ns == before
    assert "4 captions rewritten without: The image shows; red dress" in output
    assert "caption.drop" not in output


def test_drop_all_leaves_no_finding_and_says_where_to_write_it_down() -> None:
    folder = Path("data/captions")
    write_captions(folder, *SHARED)
    output = said("lint", *WORDS, "--drop-all")
    assert "4 captions rewritten without: the image shows a" in output
    assert "set caption.drop in conf/" in output
    assert said("lint", *WORDS).startswith("4 captions: nothing")
    assert all(text.startswith("ohwx, ") for text in texts(folder).values())


def test_a_dry_run_shows_the_difference_and_writes_nothing() -> None:
    folder = Path("captions")
    write_captions(folder, *SHARED)
    before = texts(folder)
    output = said("lint", "captions", *WORDS, "--drop-all", "--dry-run")
    assert "captions/0.txt\n- ohwx, the image shows a woman, smiling, red dress\n+ ohwx, woman, smiling" in output
    assert "4 captions would be rewritten" in output
    assert texts(folder) == before
    report = json.loads(said("lint", "captions", *WORDS, "--drop", "red dress", "--dry-run", "--json", code=1))
    assert report["written"] is False
    assert [edit["file"] for edit in report["edits"]] == ["captions/0.txt"]


def test_among_photos_only_their_captions_are_read_and_rewritten(photos: Path) -> None:
    for name in ("a.jpg.txt", "b.txt", "am Meer/d.txt", "readme.txt"):
        (photos / name).write_text("ohwx, on a sofa, smiling")
    said("lint", "my photos", *WORDS, "--drop", "on a sofa", code=1)
    assert texts(photos).pop("readme.txt") == "ohwx, on a sofa, smiling"
    assert {texts(photos)[name] for name in ("a.jpg.txt", "b.txt", "am Meer/d.txt")} == {"ohwx, smiling"}


def test_when_one_file_cannot_be_written_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("captions")
    write_captions(folder, *SHARED)
    before = texts(folder)
    real, written = Path.write_text, []

    def full(self: Path, *arguments: Any, **named: Any) -> int:
        written.append(self)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(self))
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left on device" in refusal("lint", "captions", *WORDS, "--drop-all")
    assert texts(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == sorted(before)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere", *WORDS), "nowhere: no such folder"),
        ((), "--trigger and --class-word: not given"),
        (("empty", *WORDS), "empty: holds no captions"),
        (("captions", *WORDS, "--drop", "photo of ohwx"), "names the trigger 'ohwx'"),
        (("captions", *WORDS, "--dry-run"), "goes with --drop or --drop-all"),
    ],
)
def test_lint_refuses_bad_input_on_one_line(arguments: tuple[str, ...], line: str) -> None:
    write_captions(Path("captions"), *SHARED)
    Path("empty").mkdir()
    assert line in refusal("lint", *arguments)
    assert texts(Path("captions"))["0.txt"] == SHARED[0]


def test_a_caption_that_is_no_text_is_refused_before_any_is_rewritten() -> None:
    write_captions(Path("captions"), *SHARED)
    Path("captions/z.txt").write_bytes("größer".encode("latin-1"))
    assert "z.txt: not UTF-8 text" in refusal("lint", "captions", *WORDS, "--drop-all")
    assert Path("captions/0.txt").read_text() == SHARED[0]
