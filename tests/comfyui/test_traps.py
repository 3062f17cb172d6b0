"""What a client of ComfyUI stumbles over: caches, LoRAs that do nothing, names, forgetting; and what is drawn."""

import io
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui import asking
from comfyui.asking import add_lora, ask, build_graph, draw, save_lora
from comfyui.folders import INPUTS
from comfyui.pictures import GRAMMAR
from comfyui.server import Double, open_double
from PIL import Image

NAMES = Path(__file__).parents[1] / "data" / "sdxl_lora_module_names.txt"
WORKFLOWS = Path(__file__).parents[2] / "conf" / "workflows"
SERVER = Path(__file__).parent / "server.py"


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    with open_double(tmp_path / "server") as opened:
        asking.place_models(opened)
        yield opened


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference in grey levels: below 3 is the whisper that shows a change, above is another picture."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


# Caches


def test_the_same_graph_again_draws_nothing_and_answers_the_earlier_file(double: Double) -> None:
    first = asking.run(double, build_graph())
    again = asking.run(double, build_graph())
    assert again["outputs"] == first["outputs"]
    assert again["prompt"][1] != first["prompt"][1]
    assert double.drawn == 1


def test_another_prefix_writes_the_same_pixels_under_another_name(double: Double) -> None:
    one, other = (draw(double, build_graph(prefix=prefix)) for prefix in ("lab/a", "lab/b"))
    assert np.array_equal(one, other)
    assert double.drawn == 2


def test_a_graph_is_not_cached_when_another_ran_in_between(double: Double) -> None:
    for seed in (1, 2, 1):
        asking.run(double, build_graph(seed))
    assert double.drawn == 3


def test_free_forgets_what_was_cached(double: Double) -> None:
    asking.run(double, build_graph())
    assert ask(double, "POST", "/free", {"unload_models": True, "free_memory": True}).status == 200
    asking.run(double, build_graph())
    assert double.drawn == 2


# LoRAs


def test_a_lora_overwritten_under_its_name_keeps_its_old_weights_until_the_restart(double: Double) -> None:
    save_lora(double.loras / "l.safetensors", 1.0, steps=200)
    old = [draw(double, add_lora(build_graph(seed), "l.safetensors")) for seed in (1, 2)]
    save_lora(double.loras / "l.safetensors", 2.0, steps=20)
    stale = draw(double, add_lora(build_graph(1), "l.safetensors"))
    assert np.array_equal(stale, old[0])
    double.restart()
    assert difference(draw(double, add_lora(build_graph(1), "l.safetensors")), old[0]) > 3
    save_lora(double.loras / "l-abc.safetensors", 2.0, steps=20)  # a name with the hash in it helps
    save_lora(double.loras / "l-def.safetensors", 1.0, steps=200)
    for name in ("l-abc.safetensors", "l-def.safetensors"):
        drawn = draw(double, add_lora(build_graph(2), name))
    assert np.array_equal(drawn, old[1])


def test_a_stale_lora_stays_stale_when_its_strength_changes(double: Double) -> None:
    save_lora(double.loras / "l.safetensors", 1.0, steps=200)
    draw(double, add_lora(build_graph(), "l.safetensors"))
    save_lora(double.loras / "l.safetensors", 2.0, steps=20)
    stale = draw(double, add_lora(build_graph(), "l.safetensors", 0.9))
    save_lora(double.loras / "old.safetensors", 1.0, steps=200)
    assert np.array_equal(stale, draw(double, add_lora(build_graph(), "old.safetensors", 0.9)))


def test_a_lora_that_matches_nothing_draws_as_without_it_and_only_the_log_says_so(double: Double) -> None:
    save_lora(double.loras / "wrong.safetensors", module="unet.down_blocks.1.attn1.to_q")
    without, wrong = draw(double, build_graph()), draw(double, add_lora(build_graph(), "wrong.safetensors"))
    assert np.array_equal(without, wrong)
    assert "lora key not loaded: unet.down_blocks.1.attn1.to_q.lora_down.weight\n" in double.log
    assert "lora key not loaded: " in ask(double, "GET", "/internal/logs").json


def test_a_lora_that_matches_is_not_named_in_the_log(double: Double) -> None:
    without, with_lora = draw(double, build_graph()), draw(double, add_lora(build_graph(), "A_kohya_sai.safetensors"))
    assert difference(without, with_lora) > 3
    assert "lora key" not in double.log


def test_a_lora_of_strength_zero_is_no_lora_and_may_even_be_broken(double: Double) -> None:
    assert np.array_equal(
        draw(double, build_graph()), draw(double, add_lora(build_graph(), "broken.safetensors", 0, 0))
    )


def test_more_strength_and_more_steps_bring_the_persona_nearer(double: Double) -> None:
    for steps in (50, 100, 200):
        save_lora(double.loras / f"s{steps}.safetensors", steps=steps)
    full = draw(double, add_lora(build_graph(), "s200.safetensors"))
    half = draw(double, add_lora(build_graph(), "s200.safetensors", 0.5))
    apart = [
        difference(draw(double, add_lora(build_graph(), f"s{steps}.safetensors")), full) for steps in (50, 100, 200)
    ]
    assert apart[0] > apart[1] > apart[2] == 0
    assert 0 < difference(half, full) < apart[0]


def test_a_lora_for_the_text_encoder_alone_changes_no_face(double: Double) -> None:
    without = draw(double, build_graph())
    text_only = draw(double, add_lora(build_graph(), "A_kohya_sai.safetensors", 0.0, 1.0))
    assert 0 < difference(without, text_only) < 3


def test_the_grammar_of_lora_keys_knows_every_module_of_sdxl() -> None:
    modules = NAMES.read_text().split()
    assert all(GRAMMAR.fullmatch(f"{name}.{end}") for name in modules for end in ("lora_up.weight", "alpha"))
    assert not GRAMMAR.fullmatch("base_model.model.down_blocks.1.attn1.to_q.lora_A.weight")


# What decides a picture, and what does not


CHANGES: dict[str, dict[str, Any]] = {
    "n3": {"steps": 3}, "n3 ": {"cfg": 6.5}, "n3  ": {"sampler_name": "ddim"}, "n3   ": {"scheduler": "karras"},
    "n3    ": {"denoise": 0.9}, "n4": {"ckpt_name": "koala_micro.safetensors"}, "n7": {"text": "ugly"},
}  # fmt: skip


@pytest.mark.parametrize("node", CHANGES)
def test_everything_that_decides_a_picture_changes_it(double: Double, node: str) -> None:
    changed = draw(double, build_graph(**{node.strip(): CHANGES[node]}))
    assert not np.array_equal(changed, draw(double, build_graph()))


def test_another_seed_another_prompt_another_face(double: Double) -> None:
    base = draw(double, build_graph())
    assert difference(base, draw(double, build_graph(2))) > 3
    assert difference(base, draw(double, build_graph(n6={"text": "a photo of somebody else"}))) > 3


def test_numbers_and_titles_of_nodes_change_nothing(double: Double) -> None:
    graph = build_graph()
    renamed = json.loads(json.dumps({f"x{number}": node for number, node in graph.items()}))
    for node in renamed.values():
        node["_meta"] = {"title": "another"}
        node["inputs"] = {
            name: [f"x{value[0]}", value[1]] if isinstance(value, list) else value
            for name, value in node["inputs"].items()
        }
    renamed["x9"]["inputs"]["filename_prefix"] = "elsewhere"
    assert np.array_equal(draw(double, graph), draw(double, renamed))


def test_the_same_graph_draws_the_same_pixels_on_another_server(double: Double, tmp_path: Path) -> None:
    with open_double(tmp_path / "another") as other:
        asking.place_models(other)
        assert np.array_equal(draw(double, build_graph()), draw(other, build_graph()))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (832, 1216), (320, 640)])
def test_a_picture_has_the_size_of_its_latent(double: Double, width: int, height: int) -> None:
    assert draw(double, build_graph(n5={"width": width, "height": height})).shape == (height, width, 3)


def test_a_batch_is_several_pictures_with_numbers_that_follow(double: Double) -> None:
    double.occupy("lab/run", 4)
    history = asking.run(double, build_graph(n5={"batch_size": 2}))
    assert [file["filename"] for file in history["outputs"]["9"]["images"]] == ["run_00005_.png", "run_00006_.png"]


def conditioned(name: str, weight: float = 0.8) -> dict[str, Any]:
    graph: dict[str, Any] = asking.read("graph_lora_instantid_basic")
    graph["23"]["inputs"]["image"] = name
    graph["24"]["inputs"]["weight"] = weight
    graph["10"]["inputs"] |= {"strength_model": 0.0, "strength_clip": 0.0}
    return graph


def test_a_photo_that_conditions_brings_the_persona_and_its_bytes_matter(double: Double) -> None:
    asking.save_picture(double.folders.input / "b.png", 30)
    one, other, none = draw(double, conditioned("idexp/idref.png")), draw(double, conditioned("b.png")), draw(
        double, conditioned("b.png", 0.0)
    )  # fmt: skip
    assert 0 < difference(one, other) < 3 < difference(other, none)


def test_where_faces_are_found_changes_nothing(double: Double) -> None:
    graph = conditioned("idexp/idref.png")
    on_cpu = draw(double, graph)
    graph["21"]["inputs"]["provider"] = "CUDA"
    assert np.array_equal(draw(double, graph), on_cpu)
    assert double.drawn == 2


def test_an_uploaded_photo_that_changes_under_its_name_is_read_again(double: Double) -> None:
    first = draw(double, conditioned("idexp/idref.png"))
    asking.save_picture(double.folders.input / "idexp" / "idref.png", 31)
    assert not np.array_equal(draw(double, conditioned("idexp/idref.png")), first)


# Files


def test_a_picture_carries_its_graph_and_what_the_client_adds(double: Double) -> None:
    extra = {"extra_pnginfo": {"pistachio": {"prompt_id": "p", "request": 7}}}
    history = asking.run(double, build_graph(), extra_data=extra)
    assert asking.text_of(double, history) == {"prompt": build_graph(), "pistachio": {"prompt_id": "p", "request": 7}}


def test_view_sends_the_file_and_refuses_to_leave_its_folder(double: Double) -> None:
    history = asking.run(double, build_graph())
    answer = ask(double, "GET", "/view?filename=run_00001_.png&subfolder=lab&type=output")
    assert (answer.status, answer.kind) == (200, "image/png")
    assert answer.data == asking.path_of(double, history).read_bytes()
    assert ask(double, "GET", "/view?filename=run_00001_.png&subfolder=../models").status == 403
    assert ask(double, "GET", "/view?filename=run_00001_.png&type=elsewhere").status == 400


def test_a_prefix_that_leads_outside_is_an_execution_error(double: Double) -> None:
    history = asking.run(double, build_graph(prefix="../../x"))
    kind, about = history["status"]["messages"][-1]
    assert (kind, about["node_type"]) == ("execution_error", "SaveImage")
    assert "outside the output folder is not allowed" in about["exception_message"]


def test_a_photo_that_is_not_there_fails_its_own_validation(double: Double) -> None:
    answer = ask(double, "POST", "/prompt", {"prompt": conditioned("absent.png")})
    (error,) = answer.json["node_errors"]["23"]["errors"]
    assert (error["type"], error["details"]) == ("custom_validation_failed", "image - Invalid image file: absent.png")


def test_lists_show_the_files_that_lie_there(double: Double) -> None:
    save_lora(double.loras / "sub" / "new.safetensors")
    assert "sub/new.safetensors" in ask(double, "GET", "/models/loras").json
    info = ask(double, "GET", "/object_info/LoraLoader").json["LoraLoader"]
    assert "sub/new.safetensors" in info["input"]["required"]["lora_name"][0]
    assert ask(double, "GET", "/internal/folder_paths").json["loras"][0] == str(double.loras)
    metadata = ask(double, "GET", "/view_metadata/loras?filename=sub/new.safetensors").json
    assert metadata["ss_steps"] == "200"
    assert ask(double, "GET", "/view_metadata/loras?filename=../../x.safetensors").status == 404


def test_workflows_are_kept_in_the_user_folder(double: Double) -> None:
    assert ask(double, "GET", "/userdata?dir=workflows").status == 404
    saved = ask(double, "POST", "/userdata/workflows%2Fone.json", {"a": 1})
    assert (saved.status, saved.json) == (200, "workflows/one.json")
    assert ask(double, "GET", "/api/userdata?dir=workflows").json == ["one.json"]
    assert ask(double, "GET", "/userdata/workflows%2Fone.json").json == {"a": 1}
    assert ask(double, "POST", "/userdata/workflows%2Fone.json?overwrite=false", {}).status == 409
    assert ask(double, "GET", "/userdata/..%2F..%2Fx").status == 403


# The queue


def test_a_smaller_number_and_front_come_first(double: Double) -> None:
    double.faults.hold()
    running = asking.send(double, build_graph(1))
    double.wait_for(double.running)
    late, second = (asking.send(double, build_graph(seed)) for seed in (2, 3))
    front = asking.send(double, build_graph(4), front=True)
    early = asking.send(double, build_graph(5), number=-99)
    assert double.running() == [running]
    double.release()
    double.wait_for(lambda: len(ask(double, "GET", "/history").json) == 5)
    assert list(ask(double, "GET", "/history").json) == [running, early, front, late, second]


def test_a_deleted_run_leaves_no_trace_and_deleting_twice_is_no_error(double: Double) -> None:
    double.faults.hold()
    running = asking.send(double, build_graph(1))
    double.wait_for(double.running)
    waiting = asking.send(double, build_graph(2))
    for _ in range(2):
        assert ask(double, "POST", "/queue", {"delete": [waiting, running]}).status == 200
    assert (double.running(), double.pending()) == ([running], [])
    double.release()
    asking.wait(double, running)
    assert ask(double, "GET", f"/history/{waiting}").json == {}


def test_clear_empties_what_waits(double: Double) -> None:
    double.faults.hold()
    for seed in (1, 2, 3):
        asking.send(double, build_graph(seed))
    double.wait_for(double.running)
    assert ask(double, "POST", "/queue", {"clear": True}).status == 200
    assert (len(double.running()), double.pending()) == (1, [])
    double.release()


def test_an_aimed_interrupt_misses_another_run_and_an_unaimed_one_stops_any(double: Double) -> None:
    double.faults.hold()
    prompt_id = asking.send(double, build_graph())
    double.wait_for(double.running)
    ask(double, "POST", "/interrupt", {"prompt_id": "another"})
    assert double.running() == [prompt_id]
    ask(double, "POST", "/interrupt")
    assert asking.wait(double, prompt_id)["status"]["messages"][-1][0] == "execution_interrupted"


def test_a_repeated_prompt_id_is_accepted_and_overwrites(double: Double) -> None:
    first = asking.run(double, build_graph(1), prompt_id="mine")
    asking.send(double, build_graph(2), prompt_id="mine")
    double.wait_for(lambda: ask(double, "GET", "/history/mine").json["mine"]["outputs"] != first["outputs"])
    assert len(ask(double, "GET", "/history").json) == 1


def test_history_can_be_deleted_and_cleared(double: Double) -> None:
    ids = [asking.run(double, build_graph(seed))["prompt"][1] for seed in (1, 2, 3)]
    ask(double, "POST", "/history", {"delete": [ids[0]]})
    assert list(ask(double, "GET", "/history").json) == ids[1:]
    ask(double, "POST", "/history", {"clear": True})
    assert ask(double, "GET", "/history").json == {}


def test_a_restart_forgets_queue_and_history_and_keeps_files(double: Double) -> None:
    history = asking.run(double, build_graph(1))
    double.faults.hold()
    asking.send(double, build_graph(2))
    asking.send(double, build_graph(3))
    double.wait_for(double.running)
    url = double.url
    double.restart()
    assert (double.url, double.lives) == (url, 2)
    assert ask(double, "GET", "/history").json == {}
    assert ask(double, "GET", "/queue").json == {"queue_running": [], "queue_pending": []}
    assert asking.path_of(double, history).exists()
    assert asking.run(double, build_graph(1))["outputs"]["9"]["images"][0]["filename"] == "run_00002_.png"


def test_a_stopped_double_leaves_no_thread_whatever_it_was_doing(tmp_path: Path) -> None:
    before = threading.active_count()
    with open_double(tmp_path) as double:
        asking.place_models(double)
        double.faults.hold()
        asking.send(double, build_graph())
        double.wait_for(double.running)
        double.faults.hang("GET /queue")
        with pytest.raises(TimeoutError):
            ask(double, "GET", "/queue", seconds=0.05)
    double.stop()
    assert threading.active_count() == before


# Inpainting


@pytest.mark.parametrize("kind", ["VAEEncode", "VAEEncodeForInpaint", "InpaintModelConditioning"])
def test_an_inpainted_picture_keeps_what_lies_outside_the_mask(double: Double, kind: str) -> None:
    asking.save_picture(double.folders.input / "photo.png", 90)
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[:, 32:] = 255
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    (double.folders.input / "mask.png").write_bytes(stream.getvalue())
    graph = build_graph()
    graph |= {
        "30": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "31": {"class_type": "LoadImageMask", "inputs": {"image": "mask.png", "channel": "red"}},
        "32": make_latent(kind),
        "33": {"class_type": "SetLatentNoiseMask", "inputs": {"samples": ["32", 0], "mask": ["31", 0]}},
    }
    graph["3"]["inputs"]["latent_image"] = {"VAEEncode": ["33", 0], "InpaintModelConditioning": ["32", 2]}.get(
        kind, ["32", 0]
    )
    if kind != "VAEEncode":
        del graph["33"]
    pixels = draw(double, graph)
    assert (pixels[:, :32] == 90).all()
    assert (pixels[:, 32:] != 90).any()


def make_latent(kind: str) -> dict[str, Any]:
    inputs: dict[str, Any] = {"pixels": ["30", 0], "vae": ["4", 2]}
    match kind:
        case "VAEEncodeForInpaint":
            inputs |= {"mask": ["31", 0], "grow_mask_by": 6}
        case "InpaintModelConditioning":
            inputs |= {"mask": ["31", 0], "positive": ["6", 0], "negative": ["7", 0], "noise_mask": True}
    return {"class_type": kind, "inputs": inputs}


# What the project sends


@pytest.mark.parametrize("name", sorted(path.stem for path in WORKFLOWS.glob("*.json")))
def test_every_workflow_of_the_project_runs(double: Double, name: str) -> None:
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text())
    for node in graph.values():
        for key, value in node["inputs"].items():
            if key in INPUTS:
                path = double.folders.paths(INPUTS[key])[0] / value
                path.parent.mkdir(parents=True, exist_ok=True)
                save_lora(path)
            if key == "image" and isinstance(value, str):
                asking.save_picture(double.folders.input / value, 90)
            if key in ("width", "height"):
                node["inputs"][key] = 64
    assert draw(double, graph).shape == (64, 64, 3)


def test_it_runs_as_a_program_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    command = [sys.executable, str(SERVER), "--port", "0", "--folder", str(tmp_path), "--dialect", "newer"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        with urllib.request.urlopen(line.split(": ")[-1].strip() + "/system_stats", timeout=10) as answer:
            assert json.load(answer)["system"]["comfyui_version"] == "0.38.0"
        process.terminate()
        assert process.wait(20) == 0
    assert line.startswith("protocol double, recorded from 0.3.64: http://127.0.0.1:")
