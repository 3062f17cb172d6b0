"""Samples of checkpoints: which pictures are asked for, drawn again and shown on the sheet."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contracts.generation import ImageRequest
from stages.contracts.settings import Dataset, Machine
from stages.contracts.train_settings import Train
from stages.flows import samples
from stages.flows.samples import Sampler
from stages.reports.montage import montage
from stages.runtime.pictures import read_picture

DATASET = Dataset(name="amira", photos=Path("photos"), trigger="ohwx", class_word="woman")
SAMPLES = {"prompts": ["{trigger}, smiling", "a {class_word}"], "seeds": [7, 3, 5], "probe_seeds": [2, 9], "steps": 4,
           "sampler": "ddim", "guidance": 3.5, "micro_batch": 2}  # fmt: skip


class Painter:
    """Paints each request its own grey, and writes down what it was asked."""

    asked: list[ImageRequest]
    opened: list[tuple[Any, ...]]

    def generate(self, requests: Sequence[ImageRequest]) -> Iterator[np.ndarray]:
        for request in requests:
            Painter.asked.append(request)
            yield np.full((16, 16, 3), grey(request.prompt, request.seed), np.uint8)


def grey(prompt: str, seed: int) -> int:
    return 20 * seed + len(prompt)


@pytest.fixture
def sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sampler:
    monkeypatch.setattr(Painter, "asked", [], raising=False)
    monkeypatch.setattr(Painter, "opened", [], raising=False)
    monkeypatch.setattr(samples, "open_generator", lambda *given: Painter.opened.append(given) or Painter())
    train = Train.model_validate({"version": "t", "base": "base", "resolution": 32, "steps": 40, "checkpoint_every": 20,
                                  "samples": SAMPLES})  # fmt: skip
    (tmp_path / "lora").mkdir()
    return Sampler(train, DATASET, Machine(threads=1), tmp_path / "kept", tmp_path / "sheet.png")


SHOTS = [(prompt, seed) for prompt in ("ohwx, smiling", "a woman") for seed in (7, 3, 5)]
PROBES = [("ohwx", 2), ("ohwx", 9)]


def painted(shots: Sequence[tuple[str, int]]) -> list[np.ndarray]:
    return [np.full((16, 16, 3), grey(*shot), np.uint8) for shot in shots]


def test_every_prompt_is_drawn_with_every_seed_as_sweep_and_eval_draw(sampler: Sampler, tmp_path: Path) -> None:
    lora = tmp_path / "lora/a.safetensors"
    sampler.draw(20, lora, last=False)
    assert [(request.prompt, request.seed) for request in Painter.asked] == SHOTS
    one = Painter.asked[1]
    assert (one.base, one.lora, one.strength, one.mode) == (Path("base"), lora, 1.0, "lora")
    assert (one.sampler, one.steps, one.guidance, one.width, one.height) == ("ddim", 4, 3.5, 32, 32)
    assert one.negative_prompt == ""
    assert Painter.opened == [("diffusers", sampler.machine, 2)]
    files = [tmp_path / f"lora/samples/00000020-{number:02d}.png" for number in range(6)]
    for file, expected in zip(files, painted(SHOTS), strict=True):
        assert np.array_equal(read_picture(file), expected)


def test_the_last_checkpoint_is_drawn_with_the_trigger_alone_too_and_the_sheet_shows_all(
    sampler: Sampler, tmp_path: Path
) -> None:
    sampler.draw(20, tmp_path / "lora/a.safetensors", last=False)
    sampler.draw(40, tmp_path / "lora/b.safetensors", last=True)
    assert [(request.prompt, request.seed) for request in Painter.asked] == [*SHOTS, *SHOTS, *PROBES]
    labels = ["step 20: 2 prompts, 3 seeds", "step 40: 2 prompts, 3 seeds", "step 40: ohwx alone"]
    sheet = montage([painted(SHOTS), painted(SHOTS), painted(PROBES)], labels)
    assert np.array_equal(read_picture(tmp_path / "sheet.png"), sheet)


def test_what_an_interrupted_training_drew_is_not_drawn_again(sampler: Sampler, tmp_path: Path) -> None:
    sampler.draw(20, tmp_path / "lora/a.safetensors", last=False)
    (tmp_path / "kept/00000020-04.png").unlink()
    Painter.asked.clear()
    sampler.draw(20, tmp_path / "lora/a.safetensors", last=False)
    assert [(request.prompt, request.seed) for request in Painter.asked] == [SHOTS[4]]
    shown = read_picture(tmp_path / "lora/samples/00000020-04.png")
    assert np.array_equal(shown, painted(SHOTS)[4])


def test_without_prompts_there_is_no_sheet_until_the_last(sampler: Sampler, tmp_path: Path) -> None:
    none = sampler.train.samples.model_copy(update={"prompts": ()})
    sampler.train = sampler.train.model_copy(update={"samples": none})
    sampler.draw(20, tmp_path / "lora/a.safetensors", last=False)
    assert not (tmp_path / "sheet.png").exists()
    sampler.draw(40, tmp_path / "lora/a.safetensors", last=True)
    assert [(request.prompt, request.seed) for request in Painter.asked] == PROBES
