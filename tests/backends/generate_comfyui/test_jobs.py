"""A graph says to ComfyUI what the request says to diffusers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comfyui_worlds import request, settings, write_stand_in_lora

from stages.backends.generate.comfyui.jobs import Planner, fill_graph
from stages.contracts.generation import ImageRequest
from stages.contracts.workflows import Graph
from stages.runtime.errors import UserError
from stages.runtime.provenance import hash_file


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "sdxl", timestep_spacing="leading")


def write_base(folder: Path, zeros: bool = True, **noise: Any) -> Path:
    (folder / "scheduler").mkdir(parents=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(noise))
    (folder / "model_index.json").write_text(json.dumps({"force_zeros_for_empty_prompt": zeros}))
    return folder


def graph_of(asked: ImageRequest, **uploaded: str) -> tuple[Graph, dict[str, dict[str, Any]]]:
    """The graph and the inputs by role."""
    job = Planner(settings(asked.base)).plan(asked)
    graph = fill_graph(job, "an-id", uploaded)
    return graph, {role: graph[number]["inputs"] for role, number in job.workflow.roles.items()}


def test_every_value_of_the_request_arrives(base: Path, tmp_path: Path) -> None:
    lora = write_stand_in_lora(tmp_path / "amira.safetensors")
    _, roles = graph_of(
        request(base, lora=lora, strength=0.8, negative_prompt="blurry", width=128, steps=7, seed=2**63 - 1)
    )
    assert roles["checkpoint"]["ckpt_name"] == "base.safetensors"
    assert roles["prompt"]["text"] == "amira, a woman"
    assert roles["negative"]["text"] == "blurry"
    assert {k: roles["latent"][k] for k in ("width", "height", "batch_size")} == {
        "width": 128, "height": 64, "batch_size": 1
    }  # fmt: skip
    sampled = {k: v for k, v in roles["sampler"].items() if not isinstance(v, list)}
    assert sampled == {"seed": 2**63 - 1, "steps": 7, "cfg": 3.0, "sampler_name": "ddim", "scheduler": "ddim_uniform",
                       "denoise": 1.0}  # fmt: skip
    assert roles["lora"]["lora_name"] == f"amira-{hash_file(lora)[:12]}.safetensors"
    assert roles["lora"]["strength_model"] == roles["lora"]["strength_clip"] == 0.8
    assert roles["save"]["filename_prefix"] == "pistachio/an-id"
    assert (roles["noise"]["sampling"], roles["noise"]["zsnr"]) == ("eps", False)


def test_a_base_that_predicts_velocity_is_drawn_so(tmp_path: Path) -> None:
    base = write_base(tmp_path / "v", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    _, roles = graph_of(request(base))
    assert (roles["noise"]["sampling"], roles["noise"]["zsnr"]) == ("v_prediction", True)


@pytest.mark.parametrize(("zeros", "negative", "read"), [(True, "", True), (False, "", False), (True, "bad", False)])
def test_an_empty_negative_prompt_is_zeros_where_the_base_was_trained_so(
    tmp_path: Path, zeros: bool, negative: str, read: bool
) -> None:
    graph, roles = graph_of(request(write_base(tmp_path / "b", zeros), negative_prompt=negative))
    source = graph[roles["sampler"]["negative"][0]]
    assert (source["class_type"] == "ConditioningZeroOut") == read
    if read:
        assert graph[source["inputs"]["conditioning"][0]]["inputs"]["text"] == ""


def test_strength_zero_is_the_graph_without_a_lora(base: Path, tmp_path: Path) -> None:
    lora = write_stand_in_lora(tmp_path / "amira.safetensors")
    without, _ = graph_of(request(base))
    zero, _ = graph_of(request(base, lora=lora, strength=0.0))
    assert zero == without
    assert "LoraLoader" not in {node["class_type"] for node in zero.values()}


@pytest.mark.parametrize("mode", ["lora+instantid", "lora+ipadapter"])
def test_a_photo_conditions_the_modes_that_have_one(base: Path, tmp_path: Path, mode: str) -> None:
    lora, photo = write_stand_in_lora(tmp_path / "amira.safetensors"), tmp_path / "photo.png"
    photo.write_bytes(b"photo")
    asked = request(base, lora=lora, mode=mode, reference=photo)
    _, roles = graph_of(asked, reference="pistachio/photo.png")
    assert roles["reference"]["image"] == "pistachio/photo.png"
    with pytest.raises(UserError, match="@reference loads the photo .*there is none; set comfyui.reference"):
        graph_of(replace(asked, reference=None))
    with pytest.raises(UserError, match="@lora applies the LoRA, but there is none"):
        graph_of(replace(asked, lora=None))


def test_tiles_decode_the_same_latents_in_pieces(base: Path) -> None:
    graph, _ = graph_of(request(base, vae_tile=512))
    (tiled,) = [node for node in graph.values() if node["class_type"] == "VAEDecodeTiled"]
    assert tiled["inputs"]["tile_size"] == 512
    assert {"samples", "vae"} <= tiled["inputs"].keys()


def test_what_decides_a_picture_decides_its_job_and_nothing_else_does(base: Path, tmp_path: Path) -> None:
    lora = write_stand_in_lora(tmp_path / "amira.safetensors")
    planner, first = Planner(settings(base)), request(base, lora=lora)
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(lora.read_bytes())
    other = write_stand_in_lora(tmp_path / "other.safetensors", steps=100)
    assert planner.plan(first).key == planner.plan(replace(first, lora=moved)).key
    changed = [
        replace(first, seed=2), replace(first, prompt="b"), replace(first, lora=other), replace(first, strength=0.5),
        replace(first, guidance=2.0), replace(first, steps=3), replace(first, vae_tile=64), replace(first, lora=None),
    ]  # fmt: skip
    assert len({planner.plan(each).key for each in [first, *changed]}) == len(changed) + 1


def test_brackets_are_read_as_they_stand_and_not_as_weights(base: Path) -> None:
    _, roles = graph_of(request(base, prompt="a (very) red dress :)", negative_prompt="(bad"))
    assert roles["prompt"]["text"] == r"a \(very\) red dress :\)"
    assert roles["negative"]["text"] == r"\(bad"
