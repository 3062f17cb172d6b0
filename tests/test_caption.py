"""The caption stage: one text per photo, the trigger first, hand-written ones kept, bad input refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import caption as stage
from stages.backends.caption import open_captioner
from stages.contracts.settings import Caption, Dataset, Machine
from stages.runtime.errors import UserError

MODEL = Path(__file__).parent.parent / "miniature" / "weights" / "captioner"
DATASET = Dataset(name="x", photos=Path("data/photos"), trigger="amiranoor", class_word="woman")
CAPTIONS = Path("data/captions")


def write_params(**caption: Any) -> None:
    sections = {
        "dataset": DATASET.model_dump(mode="json"),
        "caption": caption,
        "machine": {"threads": 1, "state_dir": "state"},
    }
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


def written() -> dict[str, str]:
    return {p.relative_to(CAPTIONS).as_posix(): p.read_text(encoding="utf-8") for p in CAPTIONS.rglob("*.txt")}


def open_blip2(**caption: Any):
    return open_captioner(Caption(backend="blip2", **caption), DATASET, Machine(threads=1))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faces: list[np.ndarray]) -> Path:
    """A workspace with six photos, some of which differ in suffix only or lie in a subfolder."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data/photos")
    for name, face in zip(["am Meer/ä ö.jpg", "a.jpg", "a.png", "b.png", "c.jpg", "d.webp"], faces, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / name, quality=95)
    return folder


def test_a_template_gives_every_photo_the_same_caption_with_the_trigger(photos: Path) -> None:
    write_params(backend="template")
    stage.main()
    files = ["am Meer/ä ö.txt", "a.jpg.txt", "a.png.txt", "b.txt", "c.txt", "d.txt"]
    assert written() == dict.fromkeys(files, "amiranoor, a photo of a woman")


def test_a_template_that_does_not_name_the_trigger_gets_it_first(photos: Path) -> None:
    write_params(backend="template", template="portrait of a {class_word}")
    stage.main()
    assert set(written().values()) == {"amiranoor, portrait of a woman"}


@pytest.mark.parametrize("template", ["a {name}", "a {", "a {}", "{trigger.x}"])
def test_a_template_that_cannot_be_filled_in_is_refused(photos: Path, template: str) -> None:
    write_params(backend="template", template=template)
    with pytest.raises(UserError, match=r"caption\.template: .* cannot be filled in"):
        stage.main()
    assert not CAPTIONS.exists()


def test_a_caption_written_by_hand_wins_and_gets_the_trigger_when_it_lacks_it(photos: Path) -> None:
    (photos / "b.txt").write_text("laughing on a boat\n", encoding="utf-8")
    (photos / "c.txt").write_text("a photo of amiranoor, sad", encoding="utf-8")
    (photos / "a.png.txt").write_text("with a hat", encoding="utf-8")
    write_params(backend="template")
    stage.main()
    captions = written()
    assert captions["b.txt"] == "amiranoor, laughing on a boat"
    assert captions["c.txt"] == "a photo of amiranoor, sad"
    assert captions["a.png.txt"] == "amiranoor, with a hat"
    assert captions["a.jpg.txt"] == captions["d.txt"] == "amiranoor, a photo of a woman"


def test_with_every_caption_written_by_hand_no_captioner_is_needed(photos: Path) -> None:
    for path in list(photos.rglob("*.*")):
        path.with_name(f"{path.name}.txt").write_text(f"photo {path.stem}", encoding="utf-8")
    write_params(backend="blip2", model="no/such/folder")
    stage.main()
    assert written()["am Meer/ä ö.txt"] == "amiranoor, photo ä ö"


def test_captions_of_photos_that_are_gone_do_not_stay(photos: Path) -> None:
    write_params(backend="template")
    stage.main()
    (photos / "a.jpg").unlink()
    stage.main()
    assert set(written()) == {"am Meer/ä ö.txt", "a.txt", "b.txt", "c.txt", "d.txt"}


def test_an_unreadable_photo_stops_the_stage_and_leaves_the_old_captions(photos: Path) -> None:
    write_params(backend="template")
    stage.main()
    before = written()
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(UserError, match=r"broken\.jpg: not a readable picture"):
        stage.main()
    assert written() == before
    assert [p.name for p in CAPTIONS.parent.iterdir() if p.name.startswith(".")] == []


def test_blip2_describes_what_is_in_the_picture(photos: Path) -> None:
    write_params(backend="blip2", model=str(MODEL))
    stage.main()
    captions = written()
    assert len(captions) == 6
    assert all(text.startswith(("amiranoor, a woman, ", "amiranoor, a man, ")) for text in captions.values())
    assert all("background" in text and "\n" not in text for text in captions.values())
    assert len(set(captions.values())) >= 4


def test_a_blip2_caption_depends_on_its_picture_alone(faces: list[np.ndarray]) -> None:
    larger = [np.asarray(Image.fromarray(face).resize((90, 64))) for face in faces[:2]]
    pictures = [*faces[:5], *larger]
    by_four = list(open_blip2(model=MODEL).captions(pictures))
    assert len(set(by_four)) >= 4
    assert list(open_blip2(model=MODEL, micro_batch=1).captions(pictures)) == by_four
    assert list(open_blip2(model=MODEL, micro_batch=16).captions(pictures[::-1])) == by_four[::-1]
    assert list(open_blip2(model=MODEL).captions([])) == []


def test_a_wider_beam_finds_other_words_where_blip2_is_unsure() -> None:
    noise = np.random.default_rng(3)
    pictures = [noise.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(4)]
    greedy, wide = (list(open_blip2(model=MODEL, beams=beams).captions(pictures)) for beams in (1, 4))
    assert greedy != wide
    assert all("background" in text for text in wide)


def test_blip2_continues_the_prompt_and_does_not_repeat_it(faces: list[np.ndarray]) -> None:
    free = list(open_blip2(model=MODEL, max_new_tokens=6).captions(faces[:2]))
    prompted = list(open_blip2(model=MODEL, prompt="a photo of", max_new_tokens=6).captions(faces[:2]))
    assert all(prompted)
    assert not any(text.startswith("a photo of") for text in prompted)
    assert all(len(text) < 60 for text in free)


def test_a_model_folder_that_is_missing_not_set_or_broken_is_refused(tmp_path: Path) -> None:
    for model in (None, tmp_path / "nowhere", Path("Salesforce/blip2-opt-2.7b")):
        with pytest.raises(UserError, match=r"not set|no model folder") as caught:
            open_blip2(model=model)
        assert "caption.model" in caught.value.line
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(UserError, match="not a BLIP-2 model that can be loaded"):
        open_blip2(model=broken)


def test_a_truncated_model_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a BLIP-2 model that can be loaded"):
        open_blip2(model=broken)


@pytest.mark.parametrize("other", ["clip", "."])
def test_a_model_of_another_kind_is_refused_instead_of_being_filled_with_noise(other: str) -> None:
    with pytest.raises(UserError, match=r"not a BLIP-2 model|no model folder"):
        open_blip2(model=MODEL.parent / other)


def test_fragments_are_dropped_from_machine_captions_and_never_from_a_caption_written_by_hand(photos: Path) -> None:
    (photos / "b.txt").write_text("a photo of a woman, laughing", encoding="utf-8")
    write_params(backend="template", template="A photo of a {class_word} at home", drop=["a photo of", "at home"])
    stage.main()
    captions = written()
    assert captions.pop("b.txt") == "amiranoor, a photo of a woman, laughing"
    assert set(captions.values()) == {"amiranoor, a woman"}


def test_a_captioner_of_the_user_s_own_is_opened_through_the_door(photos: Path, monkeypatch) -> None:
    Path("my_captions.py").write_text(
        "class Sizes:\n"
        "    def __init__(self, caption, dataset, machine):\n"
        "        self.word = dataset.class_word\n"
        "    def captions(self, images):\n"
        "        for image in images:\n"
        "            yield f'a {self.word} in {image.shape[1]} px'\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(Path.cwd())
    write_params(backend="my_captions:Sizes")
    stage.main()
    assert set(written().values()) == {"amiranoor, a woman in 64 px"}


@pytest.mark.parametrize(("door", "what"), [("no_such:X", "no module 'no_such'"), ("json:Nothing", "has no 'Nothing'")])
def test_a_door_that_leads_nowhere_is_refused(photos: Path, door: str, what: str) -> None:
    write_params(backend=door)
    with pytest.raises(UserError, match=what):
        stage.main()


def test_an_unknown_key_is_refused_before_anything_is_written(photos: Path) -> None:
    write_params(backend="template", max_tokens=3)
    with pytest.raises(UserError, match=r"caption\.max_tokens: unknown key"):
        stage.main()
    assert not CAPTIONS.exists()


def test_a_photo_that_changes_while_it_is_captioned_stops_the_stage_and_keeps_the_old_captions(
    photos: Path, monkeypatch
) -> None:
    write_params(backend="template")
    stage.main()
    before = written()
    Path("slow_captions.py").write_text(
        "from pathlib import Path\n"
        "class Slow:\n"
        "    def __init__(self, *_): pass\n"
        "    def captions(self, images):\n"
        "        Path('data/photos/b.png').write_bytes(Path('data/photos/a.png').read_bytes())\n"
        "        yield from ['another caption'] * len(images)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(Path.cwd())
    write_params(backend="slow_captions:Slow")
    with pytest.raises(UserError, match=r"b\.png: changed while it was being read; let it rest, and run again"):
        stage.main()
    assert written() == before
