"""Training by sd-scripts against a stand-in that behaves as they do, well and badly."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from kohya_standin import lora_modules, put_standin
from PIL import Image
from safetensors.numpy import load_file
from workspaces import write_train_params

from stages.backends.train.kohya import KohyaTrainer
from stages.backends.train.kohya_files import Place
from stages.contracts.lora import find_checkpoints, read_header
from stages.contracts.paths import LORA
from stages.contracts.settings import Kohya, Machine, Train
from stages.contracts.training import Checkpoint, Event, Example, Examples, Resumed, Step
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture

ROOT = Path(__file__).parent.parent.parent


def recipe(base: Path, **changes: Any) -> Train:
    values = {
        "backend": "kohya", "version": "t", "base": base, "resolution": 64, "rank": 4, "layers": "transformer",
        "steps": 4, "batch": 2, "prior_batch": 2, "checkpoint_every": 2, "seed": 7, **changes,
    }  # fmt: skip
    return Train.model_validate(values)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs go beside the test."""
    monkeypatch.chdir(tmp_path)


def run(base: Path, examples: Examples, misbehave: str = "", **changes: Any) -> list[Event]:
    machine = put_standin(Path("scripts"), base, misbehave)
    return list(KohyaTrainer(recipe(base, **changes), machine).train(examples, Path("work")))


def asked() -> list[str]:
    told: list[str] = json.loads(Path("scripts/asked.json").read_text())
    return told


def test_every_step_is_told_with_loss_and_rate_and_a_checkpoint_follows_the_steps_that_ask(
    tiny_base: Path, examples: Examples
) -> None:
    events = run(tiny_base, examples)
    assert [type(e).__name__ for e in events] == ["Step", "Step", "Step", "Checkpoint", "Step", "Step", "Checkpoint"]
    steps = [e for e in events if isinstance(e, Step)]
    assert [s.step for s in steps] == [0, 1, 2, 3, 4]
    assert steps[0] == Step(0, None, None, None, 1e-6, 1e-6)
    assert steps[2].loss == pytest.approx(0.1 + 0.01 * np.sin(1))
    assert (steps[2].d, steps[2].learning_rate) == (pytest.approx(1e-4), pytest.approx(0.75e-4))
    last = events[-1]
    assert isinstance(last, Checkpoint)
    assert last.step == 4
    written = load_file("work/kohya/output/lora.safetensors")
    assert {name: array.tobytes() for name, array in last.tensors.items()} == {
        name: array.tobytes() for name, array in written.items()
    }
    assert {float(array) for name, array in last.tensors.items() if name.endswith(".alpha")} == {4.0}


def test_the_loss_of_a_step_is_the_mean_of_its_passes(tiny_base: Path, examples: Examples) -> None:
    steps = [e for e in run(tiny_base, examples, accumulate=2) if isinstance(e, Step)]
    assert [s.step for s in steps] == [0, 1, 2, 3, 4]
    assert steps[1].loss == pytest.approx(0.1 + 0.01 * (np.sin(0) + np.sin(1)) / 2)
    assert "--save_state" not in asked()


def test_photos_and_class_images_are_upright_copies_with_their_captions(
    tiny_base: Path, examples: Examples, tmp_path: Path
) -> None:
    lying = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (96, 64), "red").save(lying, exif=exif)
    some = Examples((Example(lying, 'amiranoor, "quoted"'), *examples.train), (), examples.prior)
    run(tiny_base, some)
    dataset = tomllib.loads(Path("work/kohya/dataset.toml").read_text())["datasets"][0]["subsets"]
    photos, others = (Path(subset["image_dir"]) for subset in dataset)
    assert read_picture(photos / "00000.png").shape == (96, 64, 3)
    assert (photos / "00000.txt").read_text() == 'amiranoor, "quoted"\n'
    assert (read_picture(photos / "00001.png") == read_picture(examples.train[0].picture)).all()
    assert (len(list(photos.glob("*.png"))), len(list(others.glob("*.png")))) == (7, 3)
    assert [subset.get("is_reg", False) for subset in dataset] == [False, True]
    assert dataset[0]["num_repeats"] * 7 >= 4 * 2, "one epoch holds the whole training"


def test_without_class_images_there_is_no_subset_of_them(tiny_base: Path, examples: Examples) -> None:
    run(tiny_base, examples, prior_batch=0)
    assert len(tomllib.loads(Path("work/kohya/dataset.toml").read_text())["datasets"][0]["subsets"]) == 1
    assert asked()[asked().index("--train_batch_size") + 1] == "2"


@pytest.mark.parametrize(
    ("misbehave", "said"),
    [
        ("no data", "found no pictures"),
        ("crash", "ended with code 1 after step 3 of 4: RuntimeError: CUDA error"),
        ("nan", "the loss is nan at step 2"),
        ("no file", "without having saved lora.safetensors"),
        ("stop early", "ended after step 3 of 4"),
        ("other steps", "says that it has 3 steps, not 4"),
        ("half a file", "not a safetensors file"),
        ("strange keys", "lora_unet_nowhere"),
    ],
)
def test_what_sd_scripts_pass_over_is_an_error(tiny_base: Path, examples: Examples, misbehave: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run(tiny_base, examples, misbehave, checkpoint_every=4)


def test_a_missing_folder_of_photos_is_an_error_though_the_exit_code_is_0(
    tiny_base: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Place.prepare

    def prepare(place: Place, train: Train, some: Examples) -> None:
        real(place, train, some)
        (place.folder / "photos").rename(place.folder / "gone")

    monkeypatch.setattr(Place, "prepare", prepare)
    with pytest.raises(UserError, match="found no pictures"):
        run(tiny_base, examples, prior_batch=0)


def test_an_option_that_this_version_does_not_know_is_named(tiny_base: Path, examples: Examples) -> None:
    machine = put_standin(Path("scripts"), tiny_base)
    known = json.loads(Path("scripts/kohya_options.json").read_text())
    del known["--console_log_simple"]
    Path("scripts/kohya_options.json").write_text(json.dumps(known))
    with pytest.raises(UserError, match="unrecognized arguments: --console_log_simple"):
        list(KohyaTrainer(recipe(tiny_base), machine).train(examples, Path("work")))


def test_an_interrupted_training_goes_on_from_the_state_that_was_told(tiny_base: Path, examples: Examples) -> None:
    machine = put_standin(Path("scripts"), tiny_base)
    trainer = KohyaTrainer(recipe(tiny_base, steps=6), machine)
    told = []
    for event in trainer.train(examples, Path("work")):
        told.append(event)
        if isinstance(event, Step) and event.step == 5:
            break  # steps 3 to 5 are lost: the last state is of step 4
    again = list(KohyaTrainer(recipe(tiny_base, steps=6), machine).train(examples, Path("work")))
    assert again[0] == Resumed(4)
    assert [e.step for e in again if isinstance(e, Step)] == [5, 6]
    assert [e.step for e in again if isinstance(e, Checkpoint)] == [6]
    assert read_header(Path("work/kohya/output/lora.safetensors")).step == 6
    assert [path.name for path in Path("work/kohya").glob("state-*")] == ["state-00000004"]


def test_a_state_that_was_not_told_is_not_gone_on_from(tiny_base: Path, examples: Examples) -> None:
    machine = put_standin(Path("scripts"), tiny_base)
    for event in KohyaTrainer(recipe(tiny_base), machine).train(examples, Path("work")):
        if isinstance(event, Checkpoint):
            break  # saved, but whoever asked never came back for the next event
    again = list(KohyaTrainer(recipe(tiny_base), machine).train(examples, Path("work")))
    assert again[0] == Step(0, None, None, None, 1e-6, 1e-6)


def test_leaving_the_training_ends_the_scripts(tiny_base: Path, examples: Examples) -> None:
    machine = put_standin(Path("scripts"), tiny_base, seconds=2)
    events = KohyaTrainer(recipe(tiny_base), machine).train(examples, Path("work"))
    next(events)
    assert scripts_at_work()
    events.close()  # type: ignore[attr-defined]
    assert not scripts_at_work()


def scripts_at_work() -> list[int]:
    """Processes that run the stand-in of this test."""
    here = str(Path("scripts").absolute())
    return [p.pid for p in psutil.process_iter(["cmdline"]) if any(here in part for part in p.info["cmdline"] or [])]


def train_workspace(base: Path, **asked: Any) -> None:
    """params.yaml of a training by the stand-in in this workspace."""
    machine = put_standin(Path("scripts"), base, **asked)
    write_train_params(backend="kohya", layers="transformer", prior_batch=2)
    params = yaml.safe_load(Path("params.yaml").read_text())
    assert isinstance(machine.kohya, Kohya)
    params["machine"]["kohya"] = {"folder": str(machine.kohya.folder), "python": str(machine.kohya.python)}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def test_the_stage_writes_what_it_writes_with_every_backend(tiny_training: Path) -> None:
    from stages.train import main

    train_workspace(Path("base"))
    main()
    assert list(find_checkpoints("amira")) == [2, 4]
    header = read_header(LORA / "amira.safetensors")
    assert (header.version, bool(header.manifest_sha256)) == ("t", True)
    assert "sd-scripts" in header.metadata["ss_training_comment"]
    assert {name.split(".")[0] for name in header.tensors} == {
        name for name in lora_modules(Path("base")) if name.startswith("lora_unet")
    }
    rows = list(csv.DictReader(Path("metrics/loss.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert (LORA / "samples" / "trigger-00.png").is_file()
    assert "model saved." in Path("logs/kohya.log").read_text()


def test_a_killed_stage_takes_the_scripts_with_it_and_goes_on(tiny_training: Path) -> None:
    train_workspace(Path("base"), seconds=0.5)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with Path("stage.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "stages.train"], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(Path("state/train").glob("*/kohya/state-*")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.2)
    assert not scripts_at_work()
    from stages.train import main

    main()
    assert list(find_checkpoints("amira")) == [2, 4]


def test_where_the_scripts_are_is_asked_for_by_name(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="machine.kohya.folder is not set|machine.kohya.folder: is not set"):
        KohyaTrainer(recipe(tiny_base), Machine())
    with pytest.raises(UserError, match="no sdxl_train_network.py there"):
        KohyaTrainer(recipe(tiny_base), Machine(kohya=Kohya(folder=tmp_path)))
    (tmp_path / "sdxl_train_network.py").touch()
    with pytest.raises(UserError, match="venv/bin/python.*machine.kohya.python"):
        KohyaTrainer(recipe(tiny_base), Machine(kohya=Kohya(folder=tmp_path)))
