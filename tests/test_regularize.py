"""The regularize stage: every source ends in the same folder of pictures, captions and an index."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import regularize as stage
from stages.contracts.paths import REGULARIZATION
from stages.contracts.regularization import ClassImage, read_regularization
from stages.contracts.settings import read_machine, read_params
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture, write_png
from stages.runtime.provenance import hash_path

BASE = Path(__file__).parent.parent / "miniature" / "weights" / "base"


DRAWING = {
    "source": "base", "base": str(BASE), "prompts": ["a {class_word}, smiling", "a {class_word}"], "count": 3,
    "resolution": 64, "steps": 2, "guidance": 3.0, "sampler": "ddim", "micro_batch": 1,
}  # fmt: skip


def write_params(**regularize: Any) -> None:
    dataset = {"name": "x", "photos": "data/photos", "trigger": "amiranoor", "class_word": "woman"}
    machine = {"threads": 1, "state_dir": "state"}
    sections = {"dataset": dataset, "regularize": regularize, "machine": machine}
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


def run(**regularize: Any) -> list[ClassImage]:
    write_params(**regularize)
    stage.main()
    return read_regularization()


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def web(tmp_path: Path, faces: list[np.ndarray]) -> Iterator[tuple[Path, str]]:
    """A folder that a server on loopback serves, and its address."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "web"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_no_class_images_are_an_empty_index(workspace: Path) -> None:
    assert run(source="none", count=5) == []
    assert [path.name for path in REGULARIZATION.iterdir()] == ["index.json"]
    assert run(source="base", count=0) == []


def test_the_base_model_draws_what_the_prompts_say_and_the_same_again(workspace: Path) -> None:
    images = run(**DRAWING | {"micro_batch": 2})
    assert [(i.file, i.caption) for i in images] == [
        ("00000.png", "a woman, smiling"), ("00001.png", "a woman"), ("00002.png", "a woman, smiling")
    ]  # fmt: skip
    assert [(REGULARIZATION / f"0000{n}.txt").read_text() for n in range(3)] == [i.caption for i in images]
    pictures = [read_picture(REGULARIZATION / image.file) for image in images]
    assert {picture.shape for picture in pictures} == {(64, 64, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 3
    before = hash_path(REGULARIZATION)
    assert run(**DRAWING | {"micro_batch": 2}) == images
    assert hash_path(REGULARIZATION) == before
    assert [path for path in Path("state/regularize").iterdir() if path.is_dir()] == []


def test_a_folder_of_pictures_is_copied(workspace: Path, faces: list[np.ndarray]) -> None:
    Path("mine").mkdir()
    for name, face in zip(["a.png", "b ü.jpg"], faces, strict=False):
        Image.fromarray(face).save(Path("mine") / name)
    Path("mine/a.txt").write_text("a woman in a coat")
    assert [(i.file, i.caption) for i in run(source="folder", folder="mine")] == [
        ("a.png", "a woman in a coat"), ("b ü.jpg", "woman")
    ]  # fmt: skip
    Path("mine/a.png").unlink()
    assert [i.file for i in run(source="folder", folder="mine")] == ["b ü.jpg"]


def test_a_list_of_addresses_is_fetched_and_kept_for_the_next_time(web: tuple[Path, str], faces) -> None:
    folder, address = web
    lines = []
    for name, face in zip(["a.png", "b.jpg", "no suffix"], faces, strict=False):
        Image.fromarray(face).save(folder / name, format="JPEG" if name == "b.jpg" else "PNG")
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        lines.append(f"{digest} {address}/{name.replace(' ', '%20')}")
    Path("urls.txt").write_text("\n".join(lines))
    images = run(source="urls", urls="urls.txt")
    assert {i.file for i in images} == {
        line[:16] + suffix for line, suffix in zip(lines, [".png", ".jpg", ".png"], strict=True)
    }  # fmt: skip
    assert {i.sha256 for i in images} == {line.split()[0] for line in lines}
    assert {i.caption for i in images} == {"woman"}
    for path in list(folder.iterdir()):
        path.unlink()
    assert run(source="urls", urls="urls.txt") == images


def test_what_is_fetched_but_no_picture_is_refused_and_the_old_folder_stays(web: tuple[Path, str]) -> None:
    folder, address = web
    run(source="none")
    (folder / "page.html").write_text("<h1>sorry</h1>")
    digest = hashlib.sha256((folder / "page.html").read_bytes()).hexdigest()
    Path("urls.txt").write_text(f"{digest} {address}/page.html\n")
    with pytest.raises(UserError, match="not a readable picture"):
        run(source="urls", urls="urls.txt")
    assert read_regularization() == []


@pytest.mark.parametrize(
    ("regularize", "what"),
    [
        ({"source": "folder"}, r"regularize\.folder: not set"),
        ({"source": "folder", "folder": "nowhere"}, "nowhere: not found"),
        ({"source": "folder", "folder": "data"}, "overlaps data/regularization"),
        ({"source": "folder", "folder": "data/regularization/old"}, "overlaps data/regularization"),
        ({"source": "urls"}, r"regularize\.urls: not set"),
        ({"source": "base", "count": 2, "prompts": ["a {class_word}"]}, r"regularize\.base: not set"),
        ({"source": "base", "count": 2, "base": "b", "prompts": ["amiranoor, a {class_word}"]}, "names the trigger"),
    ],
)  # fmt: skip
def test_a_source_that_is_not_usable_is_refused_before_anything_is_written(regularize: dict, what: str) -> None:
    (REGULARIZATION / "old").mkdir(parents=True)
    with pytest.raises(UserError, match=what):
        run(**regularize)
    assert (REGULARIZATION / "old").is_dir()


def test_captions_of_a_folder_that_name_the_trigger_are_refused(workspace: Path, faces: list[np.ndarray]) -> None:
    Path("mine").mkdir()
    Image.fromarray(faces[0]).save("mine/a.png")
    Path("mine/a.txt").write_text("amiranoor, a woman")
    with pytest.raises(UserError, match="names the trigger"):
        run(source="folder", folder="mine")


def stop_after(monkeypatch: pytest.MonkeyPatch, pictures: int) -> list[Path]:
    """Interrupt the stage when so many are drawn; the pictures that it writes from now on."""
    drawn: list[Path] = []

    def write(path: Path, pixels: np.ndarray) -> None:
        if len(drawn) == pictures:
            raise KeyboardInterrupt
        drawn.append(path)
        write_png(path, pixels)

    monkeypatch.setattr("stages.flows.regularization.write_png", write)
    return drawn


def test_what_an_interrupted_run_drew_is_not_drawn_again(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(**DRAWING)
    whole = hash_path(REGULARIZATION)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 2)
        run(**DRAWING)
    drawn = stop_after(monkeypatch, 3)
    run(**DRAWING)
    assert len(drawn) == 1
    assert "regularize: resumed, 2 of 3 pictures were done" in capsys.readouterr().err
    assert hash_path(REGULARIZATION) == whole


def test_what_another_kind_of_machine_or_other_code_drew_is_not_continued(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(**DRAWING)
    params, machine = read_params(stage.Params), read_machine()
    first = stage.fingerprint(params, machine)
    assert stage.fingerprint(params, machine) == first
    assert stage.fingerprint(params, machine.model_copy(update={"threads": 2})) != first
    assert stage.fingerprint(params, machine.model_copy(update={"device": "cuda"})) != first
    monkeypatch.setattr(stage, "describe_code", lambda: "other code")
    assert stage.fingerprint(params, machine) != first


def test_what_was_drawn_for_another_class_word_is_not_continued(workspace: Path) -> None:
    write_params(**DRAWING)
    params, machine = read_params(stage.Params), read_machine()
    man = params.model_copy(update={"dataset": params.dataset.model_copy(update={"class_word": "man"})})
    trigger = params.model_copy(update={"dataset": params.dataset.model_copy(update={"trigger": "ohwx"})})
    assert stage.fingerprint(man, machine) != stage.fingerprint(params, machine)
    assert stage.fingerprint(trigger, machine) == stage.fingerprint(params, machine)  # no class image shows it
