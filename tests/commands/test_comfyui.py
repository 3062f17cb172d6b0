"""`pistachio comfyui` and `pistachio parity` as a person types them, on the double."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from comfyui.server import Double
from comfyui_worlds import hurry, open_server, settings, write_stand_in_lora
from PIL import Image
from typer.testing import CliRunner, Result
from workspaces import write_card

from stages.__main__ import app
from stages.flows.check import list_problems
from stages.runtime.errors import UserError
from stages.runtime.pictures import write_png

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    hurry(monkeypatch)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_server(tmp_path / "server") as double:
        pack = double.folders.paths("checkpoints")[0].parent / "insightface/models/antelopev2"
        pack.mkdir(parents=True)
        for name in ("1k3d68", "2d106det", "genderage", "glintr100", "scrfd_10g_bnkps"):
            (pack / f"{name}.onnx").touch()
        write_params([double.url])
        yield double


def write_params(urls: list[str], base: Path = ROOT / "miniature/weights/base", **changed: dict[str, Any]) -> None:
    """The committed params.yaml, drawing with ComfyUI in every mode."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["compare"]["baseline"] = "none"
    values["comfyui"] = settings(base).model_dump(mode="json")
    values["sweep"] |= {
        "backend": "comfyui",
        "bases": [str(base)],
        "modes": ["lora", "lora+instantid", "lora+ipadapter"],
    }
    values["eval"]["backend"] = "comfyui"
    values["machine"] |= {"comfyui_urls": urls, "comfyui_patience": 1.0, "threads": 1}
    for name, section in changed.items():
        values[name] |= section
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    write_card(Path(), values["dataset"]["name"])


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def found(result: Result) -> dict[str, dict[str, Any]]:
    return {finding["what"]: finding for finding in json.loads(result.stdout)}


def test_check_passes_where_all_is_there(server: Double) -> None:
    result = run("comfyui", "check")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("PASS") == 9
    assert "FAIL" not in result.stdout
    assert "ComfyUI 0.3.64" in result.stdout
    assert not [line for line in list_problems(Path("params.yaml")) if server.url in line]


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [
        ("checkpoints", "base.safetensors", "mode plain"),
        ("controlnet", "instantid/diffusion_pytorch_model.safetensors", "mode lora+instantid"),
        ("instantid", "ip-adapter.bin", "mode lora+instantid"),
        ("ipadapter", "ip-adapter-faceid-plusv2_sdxl.bin", "mode lora+ipadapter"),
    ],
)
def test_check_names_every_model_file_that_is_missing(server: Double, kind: str, name: str, what: str) -> None:
    (server.folders.paths(kind)[0] / name).unlink()
    result = run("comfyui", "check", "--json")
    assert result.exit_code == 1
    finding = found(result)[what]
    assert not finding["ok"]
    assert f"{name!r} is not on the server" in finding["detail"]
    assert any(name in line for line in list_problems(Path("params.yaml")))


def test_check_looks_for_the_face_pack_that_no_list_names(server: Double) -> None:
    pack = server.folders.paths("checkpoints")[0].parent / "insightface/models/antelopev2"
    (pack / "glintr100.onnx").unlink()
    finding = found(run("comfyui", "check", "--json"))["InstantID's face pack"]
    assert not finding["ok"]
    assert "lacks glintr100" in finding["detail"]


def test_check_names_nodes_that_are_not_installed_and_servers_that_do_not_answer(
    server: Double, tmp_path: Path
) -> None:
    with open_server(tmp_path / "bare", custom_nodes=False) as bare:
        write_params([bare.url, "http://127.0.0.1:9"])
        findings = json.loads(run("comfyui", "check", "--json").stdout)
    said = {(f["server"], f["what"]): f["detail"] for f in findings if not f["ok"]}
    assert "ComfyUI_InstantID is installed" in said[bare.url, "mode lora+instantid"]
    assert "ComfyUI_IPAdapter_plus is installed" in said[bare.url, "mode lora+ipadapter"]
    assert said["http://127.0.0.1:9", "server"].startswith("no connection")


def test_a_mode_that_diffusers_does_not_know_is_refused_by_check(server: Double) -> None:
    write_params([server.url], sweep={"backend": "diffusers"})
    assert [line for line in list_problems(Path("params.yaml"), files=False) if "draw the others with" in line]


def test_a_sampler_that_means_something_else_there_is_named(server: Double, tmp_path: Path) -> None:
    base = tmp_path / "leading"
    (base / "scheduler").mkdir(parents=True)
    (base / "scheduler/scheduler_config.json").write_text('{"timestep_spacing": "leading"}')
    (base / "model_index.json").write_text("{}")
    write_params([server.url], base, sweep={"samplers": ["unipc"]})
    finding = found(run("comfyui", "check", "--json"))["mode plain"]
    assert "unipc on a base with leading spacing cannot mean the same in ComfyUI" in finding["detail"]


def test_workflows_go_to_git_and_back_to_a_new_pod(server: Double, tmp_path: Path) -> None:
    saved = server.folders.user / "workflows/portraits"
    saved.mkdir(parents=True)
    (saved / "Amira à la plage.json").write_text('{"nodes": []}')
    first, again = run("comfyui", "workflows", "pull"), run("comfyui", "workflows", "pull")
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout == "new\tportraits/Amira à la plage.json\n"
    assert again.stdout == "same\tportraits/Amira à la plage.json\n"
    with open_server(tmp_path / "new pod") as other:
        pushed = run("comfyui", "workflows", "push", "--url", other.url)
        assert pushed.stdout == "new\tportraits/Amira à la plage.json\n"
        there = other.folders.user / "workflows/portraits/Amira à la plage.json"
        assert there.read_text() == '{"nodes": []}'
        there.write_text('{"nodes": [1]}')
        kept = run("comfyui", "workflows", "push", "--url", other.url)
        assert (kept.exit_code, kept.stdout) == (1, "kept\tportraits/Amira à la plage.json\n")
        assert there.read_text() == '{"nodes": [1]}'
        assert run("comfyui", "workflows", "push", "--url", other.url, "--overwrite").exit_code == 0
        assert there.read_text() == '{"nodes": []}'


@pytest.mark.parametrize("name", ["../../outside.json", "/outside.json", "..\\\\outside.json"])
def test_a_workflow_that_would_leave_its_folder_is_refused(server: Double, name: str) -> None:
    server.faults.answer("GET /userdata", 200, json.dumps([name.replace("\\\\", "\\")]), times=9)
    error = run("comfyui", "workflows", "pull").exception
    assert isinstance(error, UserError), error
    assert "names a workflow outside its folder" in error.line


def test_check_misses_room_on_the_disk(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1.5e9))
    finding = found(run("comfyui", "check", "--json"))["disk"]
    assert (finding["ok"], finding["detail"]) == (False, "1.5 GB free, 2 are the least")


def test_pushing_nothing_or_what_is_no_workflow_is_refused(server: Double) -> None:
    assert isinstance(run("comfyui", "workflows", "push", "none").exception, UserError)
    Path("w").mkdir()
    Path("w/a.json").write_text("{")
    error = run("comfyui", "workflows", "push", "w").exception
    assert isinstance(error, UserError)
    assert "not JSON" in str(error)


def test_history_is_kept_over_restarts_and_no_prompt_twice(server: Double) -> None:
    run("comfyui", "draw", "{trigger}, smiling", "--workflow", str(ROOT / "conf/workflows/text_to_image.json"))
    first = run("comfyui", "history", "export")
    assert "1 new prompts, 1 in" in first.stdout
    assert "0 new prompts, 1 in" in run("comfyui", "history", "export").stdout
    server.restart()
    run("comfyui", "draw", "{trigger}, frowning", "--workflow", str(ROOT / "conf/workflows/text_to_image.json"))
    assert "1 new prompts, 2 in" in run("comfyui", "history", "export").stdout
    lines = [json.loads(line) for line in Path("logs/comfyui_history.jsonl").read_text().splitlines()]
    assert len({line["prompt_id"] for line in lines}) == 2
    assert all(line["status"]["completed"] for line in lines)


def test_custom_nodes_are_listed_with_their_commits(server: Double) -> None:
    folder = server.folders.paths("custom_nodes")[0] / "ComfyUI_Cat"
    folder.mkdir(parents=True)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Begin"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    nodes = {node["name"]: node for node in json.loads(run("comfyui", "nodes", "--json").stdout)}
    assert nodes["ComfyUI_Cat"] == {
        "name": "ComfyUI_Cat", "commit": head.stdout.strip(), "address": "", "changed": False
    }  # fmt: skip
    (folder / "new.py").touch()
    assert "yes" in run("comfyui", "nodes").stdout


def test_one_picture_is_drawn_with_the_trained_lora(server: Double) -> None:
    write_stand_in_lora(Path("models/lora/amiranoor.safetensors"))
    result = run("comfyui", "draw", "{trigger}, smiling", "--output", "a.png")
    assert result.exit_code == 0, result.exception
    assert result.stdout == "a.png: 64x64\n"
    assert Image.open("a.png").size == (64, 64)
    assert list(server.loras.glob("amiranoor-*.safetensors"))


def test_a_part_of_a_picture_is_changed_at_its_own_size(server: Double, faces: list[np.ndarray]) -> None:
    write_stand_in_lora(Path("models/lora/amiranoor.safetensors"))
    write_png(Path("beach.png"), np.tile(faces[0], (1, 2, 1)))
    mask = np.zeros((64, 128, 3), np.uint8)
    mask[:, 64:] = 255
    write_png(Path("face.png"), mask)
    inpaint = ["comfyui", "draw", "{trigger}", "--workflow", str(ROOT / "conf/workflows/inpaint.json")]
    result = run(*inpaint, "--image", "beach.png", "--mask", "face.png", "--denoise", "0.6", "--output", "out.png")
    assert result.exit_code == 0, result.exception
    assert result.stdout == "out.png: 128x64\n"
    assert "@mask loads the mask of what to change, but there is none" in str(
        run(*inpaint, "--image", "beach.png").exception
    )
    write_png(Path("small.png"), faces[0])
    assert "is 64x64, the picture 128x64" in str(run(*inpaint, "--image", "beach.png", "--mask", "small.png").exception)


def test_a_server_that_is_not_there_is_one_line(server: Double) -> None:
    error = run("comfyui", "nodes", "--url", "http://127.0.0.1:9/").exception
    assert isinstance(error, UserError)
    assert error.line == "http://127.0.0.1:9: no connection; does a ComfyUI server run there?"


def test_the_photo_that_is_set_conditions_a_single_picture(server: Double, faces: list[np.ndarray]) -> None:
    write_png(Path("photo.png"), faces[0])
    lora = str(write_stand_in_lora(Path("models/lora/amiranoor.safetensors")))
    instantid = ["comfyui", "draw", "{trigger}", "--lora", lora]
    instantid += ["--workflow", str(ROOT / "conf/workflows/lora_instantid.json")]
    assert "there is none; set comfyui.reference" in str(run(*instantid).exception)
    write_params([server.url], comfyui={"reference": "photo.png"})
    assert run(*instantid).exit_code == 0
    (graph,) = server.graphs.values()
    assert any("pistachio/" in str(node["inputs"].get("image")) for node in graph.values())


def test_check_says_when_the_log_or_the_lora_folder_are_not_what_they_should_be(server: Double) -> None:
    server.faults.answer("GET /internal/logs/raw", 404, times=1)
    Path("elsewhere").mkdir()
    write_stand_in_lora(Path("elsewhere/other.safetensors"))
    write_params([server.url], machine={"comfyui_loras": "elsewhere"})
    findings = found(run("comfyui", "check", "--json"))
    assert "does not show its log" in findings["log"]["detail"]
    assert findings["LoRA folder"]["detail"] == "the server sees none of the 1 files in elsewhere"
    write_params([server.url], machine={"comfyui_loras": "nowhere"})
    findings = found(run("comfyui", "check", "--json"))
    assert findings["log"]["ok"]
    assert findings["LoRA folder"]["detail"] == "machine.comfyui_loras: nowhere is no folder"


@pytest.mark.parametrize("words", [("history", "export"), ("nodes",), ("workflows", "pull")])
def test_a_page_instead_of_an_answer_is_one_line(server: Double, words: tuple[str, ...]) -> None:
    for route in ("GET /history", "GET /object_info", "GET /userdata", "GET /internal/folder_paths"):
        server.faults.answer(route, 200, times=9)
    error = run("comfyui", *words).exception
    assert isinstance(error, UserError), error
    assert "an answer that is not the JSON of /" in error.line


def test_parity_says_that_a_cartoon_is_no_diffusion_model(server: Double) -> None:
    """The double draws with a pencil: every suspect is tried, none explains it, and the pictures show it."""
    write_params([server.url], sweep={"steps": 2})
    result = run("parity", "--count", "1", "--json")
    assert result.exit_code == 1, result.exception
    told = json.loads(result.stdout)
    names = [trial["name"] for trial in told["trials"]]
    assert names[0] == "as set"
    assert {"leading spacing", "linspace spacing", "VAE in bfloat16"} <= set(names)
    assert not told["same"]
    assert "nothing in common" in told["verdict"] or "None of the suspects" in told["verdict"]
    assert Image.open("logs/parity.png").size[1] > 3 * 160
