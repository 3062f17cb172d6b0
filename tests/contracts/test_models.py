"""conf/models says the truth about its own form, and the rest of conf/ says the same as it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stages.backends.faces.second import read_rules
from stages.contracts.models import Model, Part, read_registry, read_seen, write_seen
from stages.contracts.settings import parse
from stages.runtime.errors import UserError

CONF = Path(__file__).parents[2] / "conf"
REGISTRY = read_registry(CONF / "models")
FOLDERS = {model.folder.as_posix(): model for model in REGISTRY.values()}
GPU_PROFILES = ("rtx4090_24gb", "h200_141gb")
GOOD: dict[str, Any] = {
    "folder": "models/base/x", "licence": "MIT", "non_commercial": False, "hub": "a/b", "revision": "0" * 40,
    "files": {"config.json": {"size": 1, "sha256": "0" * 64}},
}  # fmt: skip


def composed(profile: str) -> Any:
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", [f"profile={profile}"]), resolve=True)


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_every_weight_that_a_gpu_profile_names_is_in_the_registry(profile: str) -> None:
    assert set(composed(profile)["models"].values()) <= set(FOLDERS)


def test_every_profile_names_weights_of_the_registry_or_weights_that_are_committed() -> None:
    for path in (CONF / "profile").glob("*.yaml"):
        for folder in yaml.safe_load(path.read_text())["models"].values():
            assert folder in FOLDERS or (CONF.parent / folder).is_dir(), (path, folder)


@pytest.mark.parametrize("profile", GPU_PROFILES)
def test_a_judge_s_licence_is_that_of_its_weights(profile: str) -> None:
    for key, judge in composed(profile)["judges"].items():
        assert judge["licence"] == FOLDERS[judge["path"]].licence, key


def test_a_licence_that_forbids_commercial_use_says_so() -> None:
    for name, model in REGISTRY.items():
        assert model.non_commercial == ("non-commercial" in model.licence), name


def test_large_files_are_all_pinned() -> None:
    for name, model in REGISTRY.items():
        assert model.size > 100_000_000, name
        for path, part in model.files.items():
            if path.endswith((".safetensors", ".onnx")):
                assert part.sha256, (name, path)
                assert part.size, (name, path)


def test_one_content_has_one_size_wherever_it_is_named() -> None:
    sizes: dict[str, set[int | None]] = {}
    for model in REGISTRY.values():
        for part in model.files.values():
            if part.sha256:
                sizes.setdefault(part.sha256, set()).add(part.size)
    assert all(len(found) == 1 for found in sizes.values())


def test_the_second_judge_s_rules_are_written_as_its_backend_reads_them(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text(REGISTRY["auraface"].written()["judge.json"])
    rules = read_rules(tmp_path / "judge.json")
    assert (rules.alignment, rules.input_size) == ("landmarks", 112)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hub": None, "revision": None}, "name one source"),
        ({"url": "https://example.org/x"}, "name one source"),
        ({"revision": None}, "name one source"),
        ({"revision": "main"}, "revision"),
        ({"files": {}}, "files"),
        ({"files": {"../x": {}}}, "not a path inside"),
        ({"files": {"/etc/passwd": {}}}, "not a path inside"),
        ({"files": {"a//b": {}}}, "not a path inside"),
        ({"files": {"a": {"from": "../b"}}}, "not a path inside"),
        ({"files": {"a": {"sha256": "A" * 64}}}, "sha256"),
        ({"files": {"a": {"sha25": "0" * 64}}}, "sha25: unknown key"),
        ({"writes": {"config.json": {}}}, "either fetched or written"),
    ],
)
def test_a_wrong_entry_is_refused(changed: dict[str, Any], said: str) -> None:
    parse(Model, GOOD)
    with pytest.raises(UserError, match=said):
        parse(Model, GOOD | changed)


@pytest.mark.parametrize("folder", ["models/base/y", "models/other/x", "/models/base/x", "elsewhere/x"])
def test_a_model_lies_where_its_name_says(tmp_path: Path, folder: str) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(GOOD | {"folder": folder}))
    with pytest.raises(UserError, match=r"x\.yaml: folder: .*; models/base/x or models/judges/x"):
        read_registry(tmp_path)


def test_a_registry_that_is_not_there_says_where_to_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="start the command in the workspace"):
        read_registry(tmp_path)


def test_what_was_seen_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "seen.json"
    assert read_seen(path) == {}
    hashes = {"b": {"size": 1, "sha256": "0" * 64}, "a": {"size": 2, "sha256": "1" * 64}}
    path.write_text(json.dumps({"model": hashes}))
    write_seen(read_seen(path), path)
    assert list(json.loads(path.read_text())["model"]) == ["a", "b"]
    path.write_text('{"model": {"a": {"size": 1}}}')
    with pytest.raises(UserError, match=r"model\.a\.sha256"):
        read_seen(path)


def test_an_unknown_hash_is_none_and_not_a_guess() -> None:
    unpinned = {name for name, model in REGISTRY.items() if any(part.sha256 is None for part in model.files.values())}
    assert unpinned == {"blip2-opt-2.7b", "stable-diffusion-safety-checker"}
    assert Part().sha256 is None
