"""The stage: a workspace in, LoRA files, the manifest's copy and a loss table out; twice the same bytes."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers.models.attention_processor import AttnProcessor
from safetensors.numpy import load_file
from workspaces import write_train_params

from stages.backends.generate.samplers import open_sampler
from stages.backends.sdxl import open_pipeline
from stages.backends.train import open_trainer
from stages.contracts.lora import DATASET, find_checkpoints, read_header
from stages.contracts.manifest import read_manifest
from stages.contracts.paths import LORA, LOSS, MANIFEST, TRAIN_SAMPLES
from stages.contracts.regularization import read_regularization
from stages.contracts.settings import read_machine, read_params
from stages.contracts.training import Step
from stages.flows.training import LossTable, Record, Target, gather_examples, training_fingerprint
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture
from stages.runtime.provenance import hash_file
from stages.runtime.state import work_folder
from stages.train import Params, main

ROOT = Path(__file__).parent.parent


@pytest.fixture
def workspace(tiny_training: Path) -> Path:
    """Photos, manifest, class images, base and params.yaml; the working directory."""
    return tiny_training


def outputs(workspace: Path) -> dict[str, bytes]:
    files = [*(workspace / "models/lora").rglob("*.*"), *(workspace / "metrics").iterdir()]
    return {path.name: path.read_bytes() for path in files}


def test_the_stage_writes_checkpoints_the_manifest_and_the_losses_and_twice_the_same(workspace: Path) -> None:
    main()
    first = outputs(workspace)
    samples = {f"{step:08d}-{number:02d}.png" for step in (2, 4) for number in range(2)} | {"trigger-00.png"}
    files = {"amira.safetensors", "amira-step00000002.safetensors", DATASET, "loss.csv", "train_samples.png"}
    assert set(first) == files | samples
    assert first[DATASET] == Path("data/manifest.json").read_bytes()
    assert list(find_checkpoints("amira")) == [2, 4]
    header = read_header(Path("models/lora/amira.safetensors"))
    assert header.manifest_sha256 == hash_file(Path("data/manifest.json"))
    assert (header.metadata["ss_num_train_images"], header.metadata["ss_num_reg_images"]) == ("6", "3")
    rows = list(csv.DictReader(Path("metrics/loss.csv").read_text().splitlines()))
    assert list(rows[0]) == ["step", "loss", "prior_loss", "holdout_loss", "learning_rate", "d"]
    assert [row["step"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [bool(row["holdout_loss"]) for row in rows] == [True, False, True, False, True]
    main()
    assert outputs(workspace) == first


def test_an_earlier_training_s_checkpoints_and_samples_do_not_stay(workspace: Path) -> None:
    main()
    (LORA / ".dataset_manifest.99999.part.json").write_text("half, by a training that was killed")
    write_train_params(checkpoint_every=3, steps=3)
    main()
    assert list(find_checkpoints("amira")) == [3]
    files = {path.relative_to(LORA).as_posix() for path in LORA.rglob("*") if path.is_file()}
    samples = {f"samples/{name}.png" for name in ("00000003-00", "00000003-01", "trigger-00")}
    assert files == {"amira.safetensors", DATASET} | samples


def test_unfinished_work_is_removed_when_all_is_done(workspace: Path) -> None:
    main()
    assert not [path for path in Path("state/train").iterdir() if path.is_dir()]


def start_and_kill(after: str, count: int) -> str:
    """Run the stage in a process of its own and kill -9 it after ``count`` lines of its record; what it had said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.train"]
    with Path("stage.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            records = list(Path("state/train").glob(f"*/{after}"))
            if records and len(records[0].read_bytes().splitlines()) >= count:
                break
            time.sleep(0.002)
        process.kill()
        process.wait()
    return Path("stage.log").read_text()


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes_and_says_where_it_went_on(workspace: Path) -> None:
    write_train_params(steps=6)
    main()
    undisturbed = outputs(workspace)
    shutil.rmtree("models")
    shutil.rmtree("metrics")
    said = "".join(start_and_kill("steps.jsonl", count) for count in (3, 4, 6))
    assert "resumed at step" in said
    main()
    assert outputs(workspace) == undisturbed


def test_a_training_that_was_interrupted_right_after_a_checkpoint_still_publishes_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = Record.add

    def interrupted(record: Record, step: Step) -> None:
        if step.step == 3:
            raise KeyboardInterrupt
        tell(record, step)

    write_train_params(samples={"prompts": [], "probe_seeds": []})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Record, "add", interrupted)
        main()
    saved = Path("models/lora/amira-step00000002.safetensors").read_bytes()
    main()
    assert list(find_checkpoints("amira")) == [2, 4]
    assert Path("models/lora/amira-step00000002.safetensors").read_bytes() == saved


def test_two_trainings_of_the_same_at_once_are_refused(workspace: Path) -> None:
    params = read_params(Params)
    examples = gather_examples(params.dataset.photos, read_manifest(), read_regularization())
    target = Target(params.dataset, MANIFEST, LORA, LOSS, TRAIN_SAMPLES)
    machine = read_machine()
    fingerprint = training_fingerprint(params.train, machine, open_trainer(params.train, machine), examples, target)
    with (
        work_folder(Path("state"), "train", fingerprint),
        pytest.raises(UserError, match="another process is doing this very work"),
    ):
        main()


def test_diffusers_own_loader_draws_the_trainer_s_pictures_bit_for_bit(workspace: Path) -> None:
    """The file, loaded and fused by diffusers itself, drawn by its own pipeline from the same noise."""
    write_train_params(layers="all", optimizer={"name": "adamw", "learning_rate": 0.05})
    main()
    pipeline = open_pipeline(Path("base"), torch.float32)
    torch.set_num_threads(1)
    pipeline.unet.set_attn_processor(AttnProcessor())
    pipeline.load_lora_weights("models/lora", weight_name="amira.safetensors")
    pipeline.fuse_lora()
    pipeline.scheduler = open_sampler("euler", dict(pipeline.scheduler.config))
    prompts = ["amiranoor, smiling", "a woman"]
    noise = torch.randn((8, 16, 16), generator=torch.Generator().manual_seed(3))
    embedded = [pipeline.encode_prompt(prompt) for prompt in prompts]
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    drawn = pipeline(
        **{name: torch.cat([values[number] for values in embedded]) for number, name in enumerate(names)},
        latents=torch.stack([noise, noise]), num_inference_steps=2, guidance_scale=5.0, height=64, width=64,
        output_type="np",
    ).images  # fmt: skip
    ours = np.stack([read_picture(Path(f"models/lora/samples/00000004-{number:02d}.png")) for number in range(2)])
    assert np.array_equal((drawn * 255).round().astype(np.uint8), ours)
    assert not np.array_equal(ours[0], read_picture(Path("models/lora/samples/00000002-00.png")))


def test_other_settings_are_other_work(workspace: Path) -> None:
    def fingerprint() -> str:
        params = read_params(Params)
        examples = gather_examples(params.dataset.photos, read_manifest(), read_regularization())
        target, machine = Target(params.dataset, MANIFEST, LORA, LOSS, TRAIN_SAMPLES), read_machine()
        return training_fingerprint(params.train, machine, open_trainer(params.train, machine), examples, target)

    first = fingerprint()
    assert fingerprint() == first
    write_train_params(seed=1)
    assert fingerprint() != first
    write_train_params()
    config = json.loads(Path("base/scheduler/scheduler_config.json").read_text())
    Path("base/scheduler/scheduler_config.json").write_text(json.dumps(config | {"beta_start": 0.001}))
    assert fingerprint() != first


@pytest.mark.slow
def test_two_processes_share_the_batch_and_learn_the_same(workspace: Path) -> None:
    """The sum of two halves rounds differently from the whole: equal to float16's precision, and to the bit twice."""
    write_train_params(optimizer={"name": "adamw", "learning_rate": 0.001}, steps=3)
    main()
    (alone,) = [load_file(path) for path in Path("models/lora").glob("amira.safetensors")]
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["machine"] |= {"threads": 2, "processes": 2}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    runs = []
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "stages.train"], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=120
        )
        runs.append(outputs(workspace))
    assert runs[0] == runs[1]
    shared = load_file(Path("models/lora/amira.safetensors"))
    assert all(np.allclose(shared[name], alone[name], atol=2e-3) for name in alone)
    assert all(np.abs(alone[name]).max() > 1e-3 for name in alone if "lora_up" in name)


def spoil_photo() -> None:
    name = read_manifest().images[0].filename
    Path("photos", name).write_bytes(Path("photos", read_manifest().images[1].filename).read_bytes())


def remove_photo() -> None:
    Path("photos", read_manifest().images[0].filename).unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_photo, "not the photo that the manifest describes"),
        (remove_photo, "in the manifest, but not there"),
        (lambda: shutil.rmtree("base"), "no model_index.json"),
        (lambda: Path("base/unet/config.json").unlink(), "cannot be loaded"),
        (lambda: Path("data/regularization/index.json").write_text("[]"), "no regularization images"),
        (lambda: write_train_params(resolution=72), "not a multiple"),
        (lambda: write_train_params(rnak=3), "rnak"),
    ],
)
def test_bad_input_is_one_line_and_removes_nothing(workspace: Path, spoil: Callable[[], Any], says: str) -> None:
    kept = Path("models/lora/amira.safetensors")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"an earlier result")
    spoil()
    with pytest.raises(UserError, match=says):
        main()
    assert kept.read_bytes() == b"an earlier result"
    assert not Path("metrics/loss.csv").exists()


def test_a_resumed_record_keeps_the_steps_up_to_where_it_goes_on(tmp_path: Path) -> None:
    record, told = Record(tmp_path), [Step(number, 0.1 * number, None, None, 1.0, None) for number in range(5)]
    for step in told:
        record.add(step)
    assert record.restart(3) == told[:4]
    record.add(told[4])
    assert record.restart(4) == told


def test_photos_are_gathered_on_the_side_that_the_manifest_gives_them(workspace: Path) -> None:
    manifest = read_manifest()
    examples = gather_examples(Path("photos"), manifest, [])
    for side, found in (("train", examples.train), ("holdout", examples.holdout)):
        assert [example.picture.name for example in found] == [photo.filename for photo in manifest.side(side)]


def test_the_loss_table_averages_between_rows(tmp_path: Path) -> None:
    table = LossTable(tmp_path / "loss.csv", 400)
    for number in range(1, 9):
        table.add(Step(number, float(number), None, None, 0.5, None))
    rows = list(csv.DictReader((tmp_path / "loss.csv").read_text().splitlines()))
    assert [(row["step"], row["loss"], row["prior_loss"], row["d"]) for row in rows] == [
        ("4", "2.5", "", ""), ("8", "6.5", "", ""),
    ]  # fmt: skip
