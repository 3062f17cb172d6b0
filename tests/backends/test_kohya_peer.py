"""Against the real sd-scripts, where PISTACHIO_KOHYA names their folder.

PISTACHIO_KOHYA_PYTHON: their Python, else venv/bin/python there; PISTACHIO_KOHYA_BASE: for a real training.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.backends.generate.lora import read_layers
from stages.backends.train.adapters import add_lora, named_layers
from stages.backends.train.kohya_files import Place
from stages.backends.train.kohya_options import build_options
from stages.contracts.lora_names import TEXT_ENCODER, TEXT_ENCODER_2, UNET
from stages.contracts.settings import Kohya, Machine, Train
from stages.contracts.training import Examples

DATA = Path(__file__).parent.parent / "data"
SCRIPTS = os.environ.get("PISTACHIO_KOHYA", "")
PYTHON = os.environ.get("PISTACHIO_KOHYA_PYTHON") or str(Path(SCRIPTS) / "venv/bin/python")
BASE = os.environ.get("PISTACHIO_KOHYA_BASE", "") if SCRIPTS else ""
RECORDED: dict[str, Any] = json.loads((DATA / "kohya_lora.json").read_text())


@pytest.fixture(scope="module")
def sdxl() -> dict[str, torch.nn.Module]:
    """SDXL's UNet and text encoders in full size, without values."""
    with torch.device("meta"):
        return {
            UNET: UNet2DConditionModel.from_config(json.loads((DATA / "sdxl_unet.json").read_text())),
            TEXT_ENCODER: CLIPTextModel(CLIPTextConfig(**RECORDED["text_encoders"]["text_encoder"])),
            TEXT_ENCODER_2: CLIPTextModelWithProjection(CLIPTextConfig(**RECORDED["text_encoders"]["text_encoder_2"])),
        }


def test_we_train_the_modules_that_sd_scripts_train(sdxl: dict[str, torch.nn.Module]) -> None:
    train = Train(version="t", base=Path("base"), rank=4, layers="transformer")
    names = []
    for component, model in sdxl.items():
        with torch.device("meta"):
            add_lora(component, model, train)
        names += [name for name, _ in named_layers(component, model)]
    assert len(names) == RECORDED["modules"] == 986
    assert hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() == RECORDED["names_sha256"]


def test_a_file_of_theirs_is_read_with_its_shapes_and_its_alpha(
    tmp_path: Path, sdxl: dict[str, torch.nn.Module]
) -> None:
    tensors = {
        key: np.full(shape, RECORDED["alpha"] if key.endswith(".alpha") else 0.01, np.float16)
        for key, shape in RECORDED["some"].items()
    }
    path = tmp_path / "theirs.safetensors"
    save_file(tensors, path, {"ss_network_dim": "4"})
    layers = read_layers(path, sdxl)
    assert len(layers) * 3 == len(tensors)
    assert {layer.component for layer in layers} == {UNET, TEXT_ENCODER, TEXT_ENCODER_2}
    assert {layer.scale for layer in layers} == {0.5}


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPTS, reason="PISTACHIO_KOHYA names no folder of sd-scripts")
def test_the_real_network_loads_our_files_whole_and_we_load_theirs(tmp_path: Path) -> None:
    from bench.kohya_names import measure

    for figures, modules in zip(measure(Path(SCRIPTS), Path(PYTHON), tmp_path)["files"], (986, 1052), strict=True):
        assert (figures["missing"], figures["unexpected"], figures["modules"]) == ([], [], modules)
        for who in ("ours, read by us", "theirs, read by us"):
            assert figures[who]["modules"] == figures[who]["modules in the file"] == modules
            assert figures[who]["largest difference"] == 0
        assert figures["modules that only one of us trains"] == 0


THEIR_READER = """
import json, sys
sys.argv = [sys.argv[0], *sys.argv[1:]]
import sdxl_train_network
from library import config_util
from library.config_util import BlueprintGenerator, ConfigSanitizer
from library import strategy_base, strategy_sd, train_util
options = sdxl_train_network.setup_parser().parse_args()
train_util.verify_training_args(options)
train_util.prepare_dataset_args(options, True)
caching = strategy_sd.SdSdxlLatentsCachingStrategy(False, False, 1, False)
strategy_base.LatentsCachingStrategy.set_strategy(caching)
user = config_util.load_user_config(options.dataset_config)
blueprint = BlueprintGenerator(ConfigSanitizer(True, True, False, True)).generate(user, options)
group, _ = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
group.verify_bucket_reso_steps(32)
(dataset,) = group.datasets
print("told", json.dumps({
    "batches": len(group), "photos": group.num_train_images, "class_images": group.num_reg_images,
    "batch_size": dataset.batch_size, "resolution": [dataset.width, dataset.height],
    "prior_loss_weight": dataset.prior_loss_weight,
    "flips": [s.flip_aug for s in dataset.subsets], "shuffles": [s.shuffle_caption for s in dataset.subsets],
    "dropout": [s.caption_dropout_rate for s in dataset.subsets], "keep": [s.keep_tokens for s in dataset.subsets],
    "captions": sorted({i.caption for i in dataset.image_data.values()}),
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPTS, reason="PISTACHIO_KOHYA names no folder of sd-scripts")
def test_the_real_parser_and_dataset_take_what_we_write_as_it_is_meant(
    tmp_path: Path, tiny_base: Path, examples: Examples
) -> None:
    train = Train(
        backend="kohya", version="t", base=tiny_base, resolution=64, layers="all", steps=30, batch=2, prior_batch=2,
        prior_weight=0.5, flip=True, captions={"shuffle": True, "dropout": 0.1}, cache_text=False,
        buckets={"enabled": True, "step": 32}, loss={"kind": "huber"}, text_encoders=True, checkpoint_every=10,
    )  # fmt: skip
    place = Place(tmp_path)
    place.prepare(train, examples)
    script = tmp_path / "reader.py"
    script.write_text(THEIR_READER)
    command = [PYTHON, script, "--dataset_config", place.dataset, *build_options(train, {})]
    done = subprocess.run(
        command, env={"PYTHONPATH": SCRIPTS, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.split("told ")[-1])
    assert (told["photos"], told["class_images"]) == (60, 3)
    assert (told["batch_size"], told["batches"]) == (4, 30), "class images are dealt out until there are as many"
    assert (told["resolution"], told["prior_loss_weight"]) == ([64, 64], 0.5)
    assert (told["flips"], told["shuffles"], told["dropout"]) == ([True, False], [True, False], [0.1, 0.0])
    assert told["captions"] == sorted({e.caption for e in (*examples.train, *examples.prior)})


@pytest.mark.slow
@pytest.mark.skipif(not BASE, reason="PISTACHIO_KOHYA_BASE names no base of SDXL's full shape (bench/kohya_base.py)")
def test_a_real_training_goes_on_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.kohya_training import SmallTrainer, draw_examples, make_recipe, measure

    monkeypatch.chdir(tmp_path)
    machine = Machine(kohya=Kohya(folder=Path(SCRIPTS), python=Path(PYTHON)))
    trainer = SmallTrainer(make_recipe(Path(BASE), text_encoders=False), machine)
    figures = measure(trainer, draw_examples(tmp_path), tmp_path / "work")
    assert [row["step"] for row in figures["gone on"] if row["event"] == "Step"] == [3, 4]
    assert figures["modules"] == 722
