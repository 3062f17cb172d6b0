"""Captions survive kill -9: what the captioner said is not asked for again, and the files are the same to the byte."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.contracts.settings import Caption, Dataset, Machine
from stages.flows.captioning import captioning
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
CAPTIONS, PHOTOS, ASKED = Path("data/captions"), Path("data/photos"), Path("asked.txt")
SLOW = '''
import time
from pathlib import Path

class Slow:
    """Says how bright a picture is, slowly, and writes down that it was asked."""

    def __init__(self, caption, dataset, machine):
        self.seconds = float(caption.prompt)

    def captions(self, images):
        for image in images:
            time.sleep(self.seconds)
            with Path("asked.txt").open("a") as log:
                log.write(f"{image.mean():.3f}\\n")
            yield f"The image shows a {image.mean():.3f} bright thing\\n "
'''
DATASET = {"name": "x", "photos": PHOTOS.as_posix(), "trigger": "ohwx", "class_word": "woman"}


def write_photo(name: str, number: int) -> None:
    noise = np.random.default_rng(number).integers(0, 40 + 12 * number, (16, 16, 3), dtype=np.uint8)
    (PHOTOS / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(PHOTOS / name)


def write_params(seconds: str = "0", state: str = "state", **caption: Any) -> None:
    """The pace stands in ``prompt``: a captioner of one's own reads the settings as it likes."""
    sections = {
        "dataset": DATASET,
        "caption": {"backend": "slow_captions:Slow", "prompt": seconds, "micro_batch": 3} | caption,
        "machine": {"threads": 1, "state_dir": state},
    }
    Path("params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve photos, one of them there twice, one in a subfolder and one captioned by hand; a slow captioner."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for number in range(12):
        write_photo(f"im Urlaub/ä {number}.png" if number == 5 else f"{number:02d}.png", number)
    (PHOTOS / "03 again.png").write_bytes((PHOTOS / "03.png").read_bytes())
    (PHOTOS / "00.txt").write_text("by hand", encoding="utf-8")
    (tmp_path / "slow_captions.py").write_text(SLOW, encoding="utf-8")
    return tmp_path


def start() -> subprocess.Popen[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "stages.caption"], env=env, text=True, stderr=subprocess.PIPE)


def finish() -> str:
    """What a run that is left alone writes to its log."""
    process = start()
    log = process.communicate(timeout=120)[1]
    assert process.returncode == 0, log
    return log


def asked() -> list[str]:
    return ASKED.read_text().split() if ASKED.exists() else []


def kill_after(answers: int) -> None:
    process = start()
    try:
        deadline = time.monotonic() + 60
        while len(asked()) < answers and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def written() -> dict[str, bytes]:
    return {path.relative_to(CAPTIONS).as_posix(): path.read_bytes() for path in CAPTIONS.rglob("*.txt")}


def test_after_kill_9_nothing_is_asked_twice_and_the_captions_are_the_same_bytes(workspace: Path) -> None:
    write_params(seconds="0.1")
    kill_after(4)
    assert not CAPTIONS.exists()
    before = asked()
    log = finish()
    done = int(log.split("caption: resumed, ")[1].split(" of ")[0])
    assert "of 12 photos were done\n" in log  # twelve files: the one captioned by hand is not asked about
    assert 3 <= done < 12
    # The answer that was being given at the kill may be asked for again, and no other.
    assert len(before) <= len(set(before)) + 1
    assert len(asked()) <= len(set(asked())) + 1
    assert len(set(asked())) == 11
    interrupted = written()
    ASKED.unlink()
    write_params(seconds="0.1", state="elsewhere")
    assert "resumed" not in finish()
    assert len(asked()) == 11
    assert written() == interrupted
    assert len(interrupted) == 13


def test_killed_again_and_again_it_ends_where_an_undisturbed_run_ends(workspace: Path) -> None:
    write_params(seconds="0.05")
    for answers in (2, 5, 8):
        kill_after(answers)
    finish()
    interrupted = written()
    assert len(asked()) <= 11 + 3
    write_params(seconds="0.05", state="elsewhere")
    finish()
    assert written() == interrupted


class Counting:
    """A captioner of a test's own: counts, and stops where it is told to."""

    asked = 0
    stop_at = -1

    def __init__(self, *_: object) -> None:
        pass

    def captions(self, images: Sequence[np.ndarray]) -> Iterator[str]:
        for image in images:
            if Counting.asked == Counting.stop_at:
                raise KeyboardInterrupt
            Counting.asked += 1
            yield f"the image shows a woman, {image.mean():.3f} bright"


@pytest.fixture
def counting(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "asked", 0)
    monkeypatch.setattr(Counting, "stop_at", -1)
    monkeypatch.setitem(sys.modules, "counting_captions", sys.modules[__name__])


def caption_all(photos: Sequence[Path], trigger: str = "ohwx", threads: int = 1, **caption: Any) -> dict[Path, str]:
    settings = Caption(**({"backend": "counting_captions:Counting", "micro_batch": 2} | caption))
    machine = Machine(threads=threads, state_dir=Path("state"))
    with captioning(photos, settings, Dataset(**DATASET | {"trigger": trigger}), machine) as said:
        return dict(said)


def interrupt(photos: Sequence[Path], answers: int, **settings: Any) -> None:
    Counting.asked, Counting.stop_at = 0, answers
    with pytest.raises(KeyboardInterrupt):
        caption_all(photos, **settings)
    Counting.asked, Counting.stop_at = 0, -1


def photos() -> list[Path]:
    return sorted(PHOTOS.glob("*.png"))


def test_every_photo_is_captioned_in_order_and_the_same_picture_once(counting: None) -> None:
    captions = caption_all(photos())
    assert list(captions) == photos()
    assert captions[PHOTOS / "03.png"] == captions[PHOTOS / "03 again.png"]
    assert Counting.asked == len(photos()) - 1
    assert captions[PHOTOS / "00.png"].startswith("ohwx, the image shows a woman, ")
    assert list(Path("state/caption").glob("*/")) == []


def test_what_was_said_is_kept_for_the_same_settings_and_photos_that_came_since_are_asked_about(
    counting: None, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second, third, fourth = (PHOTOS / f"{number:02d}.png" for number in (0, 1, 2, 6))
    interrupt([first, second, third], 2)
    renamed = second.rename(PHOTOS / "renamed.png")
    caption_all([first, third, fourth, renamed])
    assert Counting.asked == 2
    assert "caption: resumed, 2 of 4 photos were done" in capfd.readouterr().err


def test_an_unreadable_photo_costs_no_caption_that_was_made(counting: None) -> None:
    (PHOTOS / "04.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"04\.png: not a readable picture"):
        caption_all(photos())
    made = Counting.asked
    assert made >= 4
    (PHOTOS / "04.png").unlink()
    caption_all(photos())
    assert Counting.asked == len(photos()) - 1


@pytest.mark.parametrize(
    "changed",
    [{"max_new_tokens": 9}, {"trigger": "sks"}, {"threads": 2}, {"micro_batch": 4}, {"model": Path("other")}],
)
def test_other_settings_never_continue_another_run_s_work(counting: None, changed: dict[str, Any]) -> None:
    Path("other").mkdir()
    Path("other/weights").write_text("1")
    interrupt(photos(), 5)
    caption_all(photos(), **changed)
    assert Counting.asked == len(photos()) - 1


def test_other_weights_never_continue_another_run_s_work(counting: None) -> None:
    weights = Path("model/weights.bin")
    weights.parent.mkdir()
    weights.write_text("1")
    interrupt(photos(), 5, model=weights.parent)
    weights.write_text("2")
    caption_all(photos(), model=weights.parent)
    assert Counting.asked == len(photos()) - 1


def test_a_captioner_that_was_edited_never_continues_its_old_work(workspace: Path) -> None:
    write_params(seconds="0.1")
    kill_after(4)
    Path("slow_captions.py").write_text(SLOW.replace("a {image", "one {image"))
    assert "resumed" not in finish()
    assert all(b"shows one" in text for name, text in written().items() if name != "00.txt")


def test_fragments_to_drop_are_taken_out_of_what_was_kept_too(counting: None) -> None:
    interrupt(photos(), 5)
    captions = caption_all(photos(), drop=["The image shows a"])
    assert Counting.asked == len(photos()) - 1 - 5
    assert all(text.startswith("ohwx, woman, ") for text in captions.values())


def test_dropping_the_trigger_is_refused_before_anybody_is_asked(counting: None) -> None:
    with pytest.raises(UserError, match=r"caption\.drop: 'photo of OHWX' names the trigger 'ohwx'"):
        caption_all(photos(), drop=["photo of OHWX"])
    assert Counting.asked == 0


def test_two_processes_never_ask_for_the_same_captions(counting: None) -> None:
    settings = Caption(backend="counting_captions:Counting", micro_batch=2)
    machine = Machine(threads=1, state_dir=Path("state"))
    dataset = Dataset(**DATASET)
    with (
        captioning(photos(), settings, dataset, machine),
        captioning(photos(), settings, Dataset(**DATASET | {"photos": "elsewhere"}), machine),
        pytest.raises(UserError, match="another process"),
    ):
        captioning(photos(), settings, dataset, machine).__enter__()
