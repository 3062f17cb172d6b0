"""The stage: a workspace in, LoRA files, the manifest's copy and a loss table out; twice the same bytes."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.contracts.lora import DATASET, find_checkpoints, read_header
from stages.contracts.manifest import Manifest, Photo, Summary, read_manifest, write_manifest
from stages.contracts.regularization import ClassImage, write_index
from stages.contracts.training import Examples, Step
from stages.flows.training import LossTable
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file
from stages.train import main

TRAIN = {
    "version": "t", "base": "base", "resolution": 64, "rank": 4, "steps": 4, "batch": 2, "prior_batch": 1,
    "checkpoint_every": 2, "holdout_every": 2,
}  # fmt: skip


def photo(path: Path, caption: str, split: Any) -> Photo:
    return Photo(
        filename=path.name, sha256=hash_file(path), size_bytes=path.stat().st_size, width=64, height=64,
        caption_file=f"{path.stem}.txt", caption_text=caption, caption_sha256="", phash="0" * 16, group=0, split=split,
    )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path, tiny_base: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Photos, manifest, class images, base and params.yaml; the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_base, "base")
    for folder in ("photos", "data/regularization"):
        Path(folder).mkdir(parents=True)
    sides = {"train": examples.train, "holdout": examples.holdout}
    images = [
        photo(Path(shutil.copy(example.picture, "photos")), example.caption, side)
        for side, some in sides.items() for example in some
    ]  # fmt: skip
    summary = Summary(
        total_images=8, total_captions=8, unique_captions=2, caption_distribution={}, mean_image_size_bytes=0.0,
        resolution_set=["64x64"], train_images=6, holdout_images=2, duplicates=[], warnings=[],
    )  # fmt: skip
    write_manifest(
        Manifest(name="amira", trigger="amiranoor", class_word="woman", photos="photos", captions="data/captions",
                 images=images, summary=summary)
    )  # fmt: skip
    for example in examples.prior:
        shutil.copy(example.picture, "data/regularization")
    regularization = Path("data/regularization")
    write_index(
        regularization,
        [ClassImage(file=p.name, caption="a woman", sha256=hash_file(p)) for p in sorted(regularization.iterdir())],
    )
    set_params()
    return tmp_path


def set_params(**train: object) -> None:
    sections = {
        "dataset": {"name": "amira", "photos": "photos", "trigger": "amiranoor", "class_word": "woman"},
        "train": TRAIN | train,
        "machine": {"threads": 1},
    }
    Path("params.yaml").write_text(yaml.safe_dump(sections))


def outputs(workspace: Path) -> dict[str, bytes]:
    files = [*(workspace / "models/lora").iterdir(), workspace / "metrics/loss.csv"]
    return {path.name: path.read_bytes() for path in files}


def test_the_stage_writes_checkpoints_the_manifest_and_the_losses_and_twice_the_same(workspace: Path) -> None:
    main()
    first = outputs(workspace)
    assert set(first) == {"amira.safetensors", "amira-step00000002.safetensors", DATASET, "loss.csv"}
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


def test_an_earlier_training_s_checkpoints_do_not_stay(workspace: Path) -> None:
    main()
    set_params(checkpoint_every=3, steps=3)
    main()
    assert list(find_checkpoints("amira")) == [3]


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
        (lambda: set_params(resolution=72), "not a multiple"),
        (lambda: set_params(rnak=3), "rnak"),
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


def test_the_loss_table_averages_between_rows(tmp_path: Path) -> None:
    table = LossTable(tmp_path / "loss.csv", 400)
    for number in range(1, 9):
        table.add(Step(number, float(number), None, None, 0.5, None))
    rows = list(csv.DictReader((tmp_path / "loss.csv").read_text().splitlines()))
    assert [(row["step"], row["loss"], row["prior_loss"], row["d"]) for row in rows] == [
        ("4", "2.5", "", ""), ("8", "6.5", "", ""),
    ]  # fmt: skip
