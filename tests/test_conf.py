"""Every profile and experiment composes to sections that the schema accepts, and params.yaml is what conf/ composes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages.contracts.settings import SECTIONS, UNREAD, check_params
from stages.runtime.errors import UserError

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
PROFILES = sorted(p.stem for p in (CONF / "profile").glob("*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def write(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_profile_and_experiment_composes_and_validates(tmp_path: Path, profile: str, experiment: str) -> None:
    values = composed(f"profile={profile}", f"experiment={experiment}")
    check_params(write(tmp_path / "params.yaml", values))
    assert set(values) == set(SECTIONS) | UNREAD
    assert values["train"]["version"] == experiment


@pytest.mark.parametrize("captioner", sorted(p.stem for p in (CONF / "caption").glob("*.yaml")))
def test_every_captioner_composes_and_is_given_a_folder(tmp_path: Path, captioner: str) -> None:
    values = composed(f"caption={captioner}")
    check_params(write(tmp_path / "params.yaml", values))
    assert values["caption"]["backend"] == captioner
    assert values["caption"]["model"]  # dvc.yaml names it as a dependency


def test_the_committed_params_are_what_conf_composes() -> None:
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == composed()


def test_the_card_s_profiles_and_recipes_exist() -> None:
    assert {"mini", "rtx4090_24gb", "h200_141gb"} <= set(PROFILES)
    assert {"v2", "v3"} <= set(EXPERIMENTS)


def test_sweep_and_eval_share_no_prompt_and_no_seed() -> None:
    for profile in PROFILES:
        values = composed(f"profile={profile}")
        assert not set(values["sweep"]["prompts"]) & set(values["eval"]["prompts"])
        assert not set(values["sweep"]["seeds"]) & set(values["eval"]["seeds"])
        assert len(values["eval"]["prompts"]) >= 24


def test_a_batch_draws_prompts_that_neither_chose_nor_judged() -> None:
    for profile in PROFILES:
        values = composed(f"profile={profile}")
        assert len(set(values["batch"]["prompts"])) == 10
        assert not set(values["batch"]["prompts"]) & {*values["sweep"]["prompts"], *values["eval"]["prompts"]}


def test_only_the_mini_profile_and_dataset_name_the_miniature() -> None:
    naming = {p.relative_to(CONF).as_posix() for p in CONF.rglob("*.yaml") if "miniature/" in p.read_text()}
    assert naming <= {"profile/mini.yaml", "dataset/mini.yaml"}


def test_every_wrong_key_is_named_at_once_with_its_value(tmp_path: Path) -> None:
    values = composed()
    values["train"]["stpes"] = 3
    values["sweep"]["guidance"] = [0.5]
    values["eval"]["seeds"] = []
    with pytest.raises(UserError) as caught:
        check_params(write(tmp_path / "params.yaml", values))
    for part in ("train.stpes: unknown key (value 3)", "sweep.guidance.0", "0.5", "eval.seeds"):
        assert part in caught.value.line


def test_numbers_in_exponent_notation_are_not_silently_strings() -> None:
    texts = [p.read_text() for p in CONF.rglob("*.yaml")]
    assert not any(
        isinstance(v, str) and v.replace("e-", "").isdigit() for t in texts for v in _leaves(yaml.safe_load(t))
    )


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
