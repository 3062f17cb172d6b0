"""What sd-scripts is told follows from the table in docs/params.md, and what it cannot do is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.backends.train.kohya_options import ELSEWHERE, REFUSED, build_options, flatten, list_refusals
from stages.contracts.kohya import OPTIONS
from stages.contracts.settings import Machine, Train
from stages.flows.check import list_problems

KNOWN: dict[str, str] = json.loads((Path(__file__).parent.parent / "data" / "kohya_options.json").read_text())


def recipe(**changes: Any) -> Train:
    values = {"backend": "kohya", "version": "t", "base": "base", "layers": "transformer", **changes}
    return Train.model_validate(values)


def told(noise: dict[str, Any] | None = None, **changes: Any) -> dict[str, list[str]]:
    """The options by name, each with the words behind it."""
    found: dict[str, list[str]] = {}
    for word in build_options(recipe(**changes), noise or {}):
        if word.startswith("--"):
            assert word not in found, f"{word} twice"
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def test_every_setting_is_an_option_or_met_elsewhere_or_refused() -> None:
    assert set(flatten(recipe())) - set(OPTIONS) == set(ELSEWHERE) - set(OPTIONS) | {"train.ema"}
    assert set(REFUSED) <= set(flatten(recipe()))


def test_every_option_is_one_that_sd_scripts_knows_with_so_many_words() -> None:
    every = told(
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, layers="all", flip=True, batch=2,
        buckets={"enabled": True}, loss={"kind": "huber", "noise_offset": 0.05}, gradient_checkpointing=True,
        captions={"shuffle": True}, cache_text=False, text_encoders=True, prior_batch=2,
        optimizer={"name": "adamw", "learning_rate": 0.001, "text_encoder_rate": 0.0005},
    )  # fmt: skip
    for name, words in every.items():
        match KNOWN[name]:
            case "switch":
                assert words == [], name
            case "value":
                assert len(words) == 1, name
            case _:
                assert words, name


def test_the_recipe_of_the_recording_is_said_as_it_was_recorded() -> None:
    said = told(prior_batch=1, text_encoders=True, cache_text=False)
    assert said["--optimizer_type"] == ["Prodigy"]
    assert said["--learning_rate"] == ["1.0"]
    assert set(said["--optimizer_args"]) == {
        "decouple=True", "weight_decay=0.01", "betas=0.9,0.99", "use_bias_correction=True", "safeguard_warmup=True",
        "d_coef=1.0",
    }  # fmt: skip
    assert (said["--lr_scheduler"], said["--mixed_precision"], said["--min_snr_gamma"]) == (
        ["cosine"],
        ["bf16"],
        ["5.0"],
    )
    assert {"--cache_latents", "--no_half_vae", "--sdpa", "--console_log_simple"} <= set(said)
    assert not {"--network_train_unet_only", "--cache_text_encoder_outputs", "--v_parameterization"} & set(said)


def test_alpha_is_the_rank_where_it_is_not_said_and_a_batch_holds_the_class_images_too() -> None:
    said = told(rank=8, batch=3, prior_batch=3)
    assert (said["--network_dim"], said["--network_alpha"], said["--train_batch_size"]) == (["8"], ["8"], ["6"])
    assert told(batch=3)["--train_batch_size"] == ["3"]
    assert told(batch=3, prior_batch=3, prior_weight=0)["--train_batch_size"] == ["3"]


def test_convolutions_have_rank_and_alpha_of_the_rest() -> None:
    assert told(layers="all", rank=8, alpha=4)["--network_args"] == ["conv_dim=8", "conv_alpha=4.0"]
    assert "--network_args" not in told()


def test_what_would_change_nothing_is_not_said() -> None:
    assert not {"--huber_c", "--huber_schedule", "--bucket_reso_steps", "--min_bucket_reso"} & set(told())
    assert "--min_snr_gamma" not in told(loss={"weighting": "debiased"})
    assert "--debiased_estimation_loss" in told(loss={"weighting": "debiased"})
    adamw = told(optimizer={"name": "adamw", "learning_rate": 0.001})
    assert set(adamw["--optimizer_args"]) == {"betas=0.9,0.99", "weight_decay=0.01"}


def test_buckets_reach_as_far_as_the_widest_aspect() -> None:
    said = told(buckets={"enabled": True, "step": 64, "max_aspect": 2.0}, resolution=1024)
    assert (said["--min_bucket_reso"], said["--max_bucket_reso"]) == (["704"], ["1472"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": "attention"}, "train.layers: sd-scripts cannot do 'attention'"),
        ({"masks": {"source": "faces"}}, "train.masks.source"),
        ({"dora": True}, "train.dora.*LyCORIS"),
        ({"rslora": True}, "train.rslora.*LyCORIS"),
        ({"ema": 0.9}, "train.ema.*no moving average"),
        ({"prior_batch": 2, "batch": 1}, "train.prior_batch: is 2.*set it to train.batch"),
        ({"captions": {"dropout": 0.1}}, "train.captions.dropout.*cache_text to false"),
        ({"buckets": {"enabled": True, "step": 48}}, "train.buckets.step: is 48.*32"),
        ({"seed": 2**32}, "train.seed"),
        ({"optimizer": {"name": "adamw8bit", "learning_rate": 0.001}}, "adamw8bit needs CUDA"),
    ],
)
def test_what_sd_scripts_cannot_do_is_refused_by_name(changes: dict[str, Any], said: str) -> None:
    import re

    (line,) = list_refusals(recipe(**changes), Machine())
    assert re.search(said, line)
    assert list_refusals(recipe(), Machine()) == []


def test_check_says_it_before_dvc_deletes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = {"backend": "kohya", "version": "t", "base": "base", "layers": "attention"}
    Path("params.yaml").write_text(yaml.safe_dump({"train": train, "machine": {"processes": 2}}))
    problems = list_problems()
    assert [line for line in problems if line.startswith("train.layers: sd-scripts cannot do 'attention'")]
    assert [line for line in problems if line.startswith("machine.processes: is 2")]
    assert [line for line in problems if line.startswith("machine.kohya.folder: is not set")]
    assert not [line for line in list_problems(files=False) if "machine.kohya" in line]
