"""A stand-in for kohya sd-scripts' program of the same name, made from what 48d368f does.  It learns nothing.

It takes the options of the real one (recorded in tests/data/kohya_options.json), refuses what the real one refuses,
writes the same lines, the same TensorBoard tags, files in the same form and states to go on from, and counts steps as
it does.  ``standin.json`` beside it holds the ``modules`` of the base (name -> [in, out]) and how to ``misbehave``.
"""

import argparse
import ast
import json
import math
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

HERE = Path(__file__).parent
ASKED: dict[str, Any] = json.loads((HERE / "standin.json").read_text())
MISBEHAVE = ASKED.get("misbehave", "")
SUBSET_KEYS = {"image_dir", "is_reg", "num_repeats", "caption_extension", "class_tokens", "flip_aug", "shuffle_caption",
               "caption_dropout_rate", "keep_tokens", "alpha_mask"}  # fmt: skip
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def read_options() -> argparse.Namespace:
    """The command line; an unknown option ends it with code 2, as argparse does."""
    parser = argparse.ArgumentParser(add_help=False)
    for name, kind in json.loads((HERE / "kohya_options.json").read_text()).items():
        match kind:
            case "switch":
                parser.add_argument(name, action="store_true")
            case "many":
                parser.add_argument(name, nargs="*")
            case _:
                parser.add_argument(name)
    return parser.parse_args()


def read_dataset(path: Path) -> tuple[int, int]:
    """Pictures to train on, repeats counted, and class images; an unknown key is an error, a missing folder is not."""
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    counts = {False: 0, True: 0}
    for subset in (subset for dataset in config["datasets"] for subset in dataset["subsets"]):
        unknown = set(subset) - SUBSET_KEYS
        if unknown:
            raise ValueError(f"extra keys not allowed @ data['datasets'][0]['subsets'][0]['{unknown.pop()}']")
        folder = Path(subset["image_dir"])
        if not folder.is_dir():
            print(f"not directory: {folder}")
            continue
        pictures = [p for p in sorted(folder.iterdir()) if p.suffix in PICTURES]
        for picture in pictures:
            if not picture.with_suffix(subset.get("caption_extension", ".caption")).is_file():
                print(f"No caption file found for {picture}")
        counts[subset.get("is_reg", False)] += len(pictures) * subset.get("num_repeats", 1)
    return counts[False], counts[True]


def insist(options: argparse.Namespace) -> None:
    """What the real one asserts."""
    assert options.network_train_unet_only or not options.cache_text_encoder_outputs, (
        "network for Text Encoder cannot be trained with caching Text Encoder outputs"
    )
    changed = options.shuffle_caption or float(options.caption_dropout_rate or 0) > 0
    assert not (options.cache_text_encoder_outputs and changed), "when caching Text Encoder output, ..."
    assert int(options.bucket_reso_steps or 64) % 32 == 0, "bucket_reso_steps must be divisible by 32"
    for name in ("openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k"):
        if not (Path(options.tokenizer_cache_dir or "nowhere") / name / "tokenizer_config.json").is_file():
            raise OSError(f"Can't load tokenizer for '{name}'")
    base = Path(options.pretrained_model_name_or_path)
    if not (base.is_file() or (base / "model_index.json").is_file()):
        raise OSError(f"{base} is not a local folder")
    for argument in options.optimizer_args or []:
        ast.literal_eval(argument.split("=", 1)[1])


def log(writer: EventFileWriter, step: int, values: dict[str, float]) -> None:
    for tag, value in values.items():
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
    writer.flush()


def save(options: argparse.Namespace, path: Path, step: int) -> None:
    """A LoRA file as save_weights writes it: half precision, alpha beside every pair."""
    print(f"\nsaving checkpoint: {path}")
    draw, rank = np.random.default_rng(step), int(options.network_dim)
    tensors: dict[str, np.ndarray] = {}
    for name, (inside, outside) in ASKED["modules"].items():
        if options.network_train_unet_only and not name.startswith("lora_unet"):
            continue
        tensors[f"{name}.lora_down.weight"] = draw.normal(0, 0.02, (rank, inside)).astype(np.float16)
        tensors[f"{name}.lora_up.weight"] = draw.normal(0, 0.02, (outside, rank)).astype(np.float16)
        tensors[f"{name}.alpha"] = np.array(float(options.network_alpha), np.float16)
    if MISBEHAVE == "strange keys":
        tensors["lora_unet_nowhere.lora_down.weight"] = np.zeros((rank, 4), np.float16)
    steps = step - 1 if MISBEHAVE == "other steps" else step
    header = {
        "ss_steps": str(steps), "ss_output_name": options.output_name, "ss_network_dim": options.network_dim,
        "ss_network_alpha": options.network_alpha, "ss_network_module": options.network_module,
        "ss_base_model_version": "sdxl_base_v1-0", "ss_optimizer": "prodigyopt.prodigy.Prodigy(decouple=True)",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    }  # fmt: skip
    save_file(tensors, path, header)
    if MISBEHAVE == "half a file":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_when_due(options: argparse.Namespace, output: Path, step: int) -> None:
    """A LoRA file, and the state to go on from, every so many steps."""
    if step % int(options.save_every_n_steps):
        return
    save(options, output / f"{options.output_name}-step{step:08d}.safetensors", step)
    if options.save_state:
        folder = output / f"{options.output_name}-step{step:08d}-state"
        folder.mkdir()
        (folder / "train_state.json").write_text(json.dumps({"current_epoch": 1, "current_step": step}))


def train(options: argparse.Namespace, photos: int, class_images: int) -> None:
    batch, steps, every = (
        int(options.train_batch_size), int(options.max_train_steps), int(options.gradient_accumulation_steps)
    )  # fmt: skip
    epoch = math.ceil((photos + max(class_images and photos, class_images)) / batch)
    step = 0
    if options.resume:
        state = json.loads((Path(options.resume) / "train_state.json").read_text())
        print(f"load train state from {options.resume}: {state}")
        if options.skip_until_initial_step:
            step = state["current_step"] * every
            step -= epoch * (step // math.ceil(epoch / every))  # the count is of the epoch, not of the training
    output, prodigy = Path(options.output_dir), options.optimizer_type == "Prodigy"
    output.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(Path(options.logging_dir) / time.strftime("%Y%m%d%H%M%S") / "network_train"))
    print(f"running training\n  num train images * repeats: {photos}\n  num reg images: {class_images}")
    end = steps - 1 if MISBEHAVE == "stop early" else steps
    while step < end:
        for part in range(every):
            loss = 0.1 + 0.01 * math.sin(step * every + part)
            if MISBEHAVE == "nan" and step == 1:
                loss = math.nan
            if part == every - 1:
                step += 1
                save_when_due(options, output, step)  # the real one, too, saves before it logs
            rate = float(options.learning_rate) * (1 - step / (2 * steps))
            values = {"loss/current": loss, "loss/average": loss, "lr/unet": rate}
            log(writer, step, values | ({"lr/d*lr/unet": rate * 1e-4} if prodigy else {}))
        bar = f"{step / steps:4.0%}|#####     | {step}/{steps} [00:01<00:01,  1.00s/it, avr_loss={loss:.3g}]"
        sys.stderr.write(f"\rsteps: {bar}")
        sys.stderr.flush()
        if MISBEHAVE == "crash" and step == 3:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        time.sleep(ASKED.get("seconds", 0.0))
    if MISBEHAVE != "no file":
        save(options, output / f"{options.output_name}.safetensors", step)
        print("model saved.")


def main() -> None:
    options = read_options()
    (HERE / "asked.json").write_text(json.dumps(sys.argv[1:]))
    photos, class_images = read_dataset(Path(options.dataset_config))
    if photos == 0 or MISBEHAVE == "no data":
        print("No data found. Please verify arguments (train_data_dir must be the parent of folders with images)")
        return
    insist(options)
    train(options, photos, class_images)


if __name__ == "__main__":
    main()
