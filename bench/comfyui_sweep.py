"""A sweep on a real ComfyUI that is killed in the middle: is every picture there and its cell's, does the LoRA load?

    python -m bench.comfyui_sweep --comfyui COMFYUI --python COMFYUI_VENV/bin/python --models FOLDER --work EMPTY_FOLDER

FOLDER has what `bench.random_sdxl` wrote.  2 LoRAs x 3 guidances x 3 strengths and the base alone, through the
project's own backend; figures go to bench/results/comfyui.json.
"""

import json
import signal
import threading
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.comfyui_process import ComfyProcess, describe, link_checkpoint, open_comfyui
from bench.differences import difference
from bench.random_lora import write_random_lora
from bench.results_file import append_result
from stages.backends.generate import open_generator
from stages.backends.generate.comfyui.jobs import Planner, fill_graph
from stages.backends.generate.comfyui.pictures import read_drawn
from stages.backends.generate.comfyui.server import Server
from stages.contracts.generation import ImageRequest
from stages.contracts.settings import ComfyUI, Machine

RESULT = Path(__file__).parent / "results" / "comfyui.json"
GUIDANCE, STRENGTHS, LORAS = (2.0, 4.0, 7.0), (0.0, 0.6, 1.0), (1, 2)
KILL_AT = 8  # pictures
DRAWN = "random SDXL, float32, 64 px, 4 steps of dpmpp_2m_karras"
LOST_KEYS = ("lora key not loaded", "NOT LOADED", "ERROR lora")  # what ComfyUI's log says of a LoRA that does not fit


def cells(base: Path, folder: Path) -> list[ImageRequest]:
    """Every cell's request: 64 px, 4 steps."""
    first = ImageRequest(
        "a photo of sks woman, (red hat)", 1, base, None, sampler="dpmpp_2m_karras", steps=4, width=64, height=64,
        negative_prompt="blurry",
    )  # fmt: skip
    loras = [folder / f"random{seed}.safetensors" for seed in LORAS]
    for seed, path in zip(LORAS, loras, strict=True):
        write_random_lora(path, seed)
    alone = [replace(first, guidance=guidance) for guidance in GUIDANCE]
    grid = product(loras, STRENGTHS, GUIDANCE)
    return alone + [replace(first, lora=lora, strength=s, guidance=g) for lora, s, g in grid]


def draw_all(server: ComfyProcess, machine: Machine, requests: list[ImageRequest]) -> tuple[list[np.ndarray], float]:
    """Draw every request, with a crash in the middle; pictures, and seconds per picture before the crash."""
    generator = open_generator("comfyui", machine, 1, ComfyUI())
    pictures: list[np.ndarray] = []
    start, pace = time.monotonic(), 0.0
    for picture in generator.generate(requests):
        pictures.append(picture)
        print(f"{len(pictures)}/{len(requests)} after {time.monotonic() - start:.1f} s", flush=True)
        if len(pictures) == KILL_AT:
            pace = (time.monotonic() - start) / KILL_AT
            server.end(signal.SIGKILL)
            threading.Thread(target=server.start, daemon=True).start()  # while the client waits for it
    return pictures, pace


def read_files(folder: Path) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The graph and the pixels of every picture that the server wrote."""
    found = []
    for path in sorted((folder / "output" / "pistachio").glob("*.png")):
        with Image.open(path) as image:
            graph = json.loads(getattr(image, "text", {})["prompt"])
            found.append((graph, np.asarray(image.convert("RGB"))))
    return found


def one_node(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    """The inputs of the only node of a class; empty where there is none."""
    return next((node["inputs"] for node in graph.values() if node["class_type"] == kind), {})


def says(graph: dict[str, Any], request: ImageRequest) -> bool:
    """Whether the graph in a picture is this request's; read by node class, not with the backend's own eyes."""
    sampler, lora = one_node(graph, "KSampler"), one_node(graph, "LoraLoader")
    if request.lora is None or request.strength == 0:
        right = not lora
    else:
        right = lora.get("strength_model") == request.strength and lora["lora_name"].startswith(request.lora.stem + "-")
    texts = {node["inputs"]["text"] for node in graph.values() if node["class_type"] == "CLIPTextEncode"}
    plain = {text.replace("\\(", "(").replace("\\)", ")") for text in texts}
    numbers = [sampler.get(name) for name in ("cfg", "seed", "steps")]
    return right and request.prompt in plain and numbers == [request.guidance, request.seed, request.steps]


def draw_plainly(server: ComfyProcess, graph: dict[str, Any], name: str) -> np.ndarray:
    """One picture by plain requests, without the backend."""
    talk = Server(server.url)
    talk.send(graph, name, name, {})
    end = time.monotonic() + 300
    while time.monotonic() < end and (record := talk.history(name)) is None:
        time.sleep(0.2)
    assert record is not None, "the picture did not come"
    (file,) = next(iter(record["outputs"].values()))["images"]
    return read_drawn(talk.view(file["filename"], file["subfolder"]), graph)


def zero_strength_is_no_lora(server: ComfyProcess, request: ImageRequest, without: np.ndarray, name: str) -> bool:
    """Whether a LoRA in the graph at strength 0 changes not one byte."""
    planner = Planner(ComfyUI())
    job = planner.plan(replace(request, strength=1.0))
    graph = fill_graph(replace(job, request=replace(request, strength=0.0)), name, {})
    return bool(np.array_equal(draw_plainly(server, graph, name), without))


def measure(server: ComfyProcess, base: Path) -> None:
    """Record every figure; an AssertionError where a promise is broken."""
    requests = cells(base, server.folder)
    machine = Machine(
        comfyui_urls=(server.url,), comfyui_loras=server.folder / "models" / "loras", comfyui_patience=300.0,
        state_dir=server.folder / "state",
    )  # fmt: skip
    pictures, pace = draw_all(server, machine, requests)
    assert len(pictures) == len(requests), "a picture was lost"
    files = read_files(server.folder)
    for request, picture in zip(requests, pictures, strict=True):
        own = [pixels for graph, pixels in files if says(graph, request)]
        assert own, f"no file says {request}"
        assert all(np.array_equal(pixels, picture) for pixels in own), f"not the picture of {request}"
    assert not any(word in server.log for word in LOST_KEYS), "a LoRA's key was not loaded"
    full = next(i for i, request in enumerate(requests) if request.strength == 1 and request.lora)
    alone = pictures[GUIDANCE.index(requests[full].guidance)]
    assert zero_strength_is_no_lora(server, requests[full], alone, "00000000-0000-4000-8000-000000000000")
    assert not np.array_equal(pictures[full], alone), "the LoRA does nothing"
    peer = describe(server)
    server.end()  # two of these models at once need 16 GiB
    ours = list(open_generator("diffusers", Machine(threads=2), 1, ComfyUI()).generate(requests))
    apart = [difference(a, b) for a, b in zip(pictures, ours, strict=True)]
    figures = {
        "drawn": DRAWN, "cells": len(requests), "images": len(pictures), "files": len(files),
        "killed_after": KILL_AT, "lost": 0, "misattributed": 0, "lora_keys_not_loaded": 0,
        "strength_0_equals_no_lora": True, "strength_1_against_none": difference(pictures[full], alone),
        "seconds_per_image": round(pace, 2), "against_diffusers_mean": max(mean for mean, _ in apart),
        "against_diffusers_max": max(most for _, most in apart),
    }  # fmt: skip
    append_result(RESULT, "python -m bench.comfyui_sweep", {"ComfyUI": peer}, figures)


def main() -> None:
    """Read the command line."""
    server, base = open_comfyui(__doc__, 8195)
    link_checkpoint(server, base.with_suffix(".safetensors"), f"{base.name}.safetensors")
    try:
        server.start()
        measure(server, base)
        print(RESULT.read_text(encoding="utf-8"))
    finally:
        server.end()


if __name__ == "__main__":
    main()
