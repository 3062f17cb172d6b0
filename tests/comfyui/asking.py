"""What the tests of the double share: requests, graphs, stand-ins for model files, and recordings made comparable."""

import asyncio
import copy
import http.client
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from comfyui.graphs import RECORDED
from comfyui.server import Double
from PIL import Image

from stages.contracts.lora import write_lora

CHECKPOINTS = ("koala_micro.safetensors", "sd15_micro.safetensors", "sdxl_micro.safetensors")
UNET = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
PATIENCE = 10.0  # seconds
KEPT_APART = frozenset({"timestamp", "client_id", "sid", "traceback", "prompt_id", "number"})


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    kind: str | None  # Content-Type
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def ask(double: Double, method: str, path: str, body: Any = None, *, seconds: float = 10, **headers: str) -> Answer:
    """One request on a connection of its own; ``body``: bytes as they are, anything else as JSON."""
    connection = http.client.HTTPConnection(double.url.removeprefix("http://"), timeout=seconds)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Content-Type"), response.read())
    finally:
        connection.close()


def send(double: Double, graph: dict[str, Any], **more: Any) -> str:
    """POST /prompt; the prompt_id."""
    answer = ask(double, "POST", "/prompt", {"prompt": graph} | more)
    assert answer.status == 200, answer.data
    return str(answer.json["prompt_id"])


def wait(double: Double, prompt_id: str) -> dict[str, Any]:
    """The run's history, when there is one."""
    return double.wait_for(lambda: ask(double, "GET", f"/history/{prompt_id}").json.get(prompt_id))


def run(double: Double, graph: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Send and wait."""
    return wait(double, send(double, graph, **more))


def draw(double: Double, graph: dict[str, Any], **more: Any) -> np.ndarray:
    """The picture of a run: uint8 (height, width, 3) RGB."""
    history = run(double, graph, **more)
    assert history["status"]["status_str"] == "success", history["status"]
    return pixels_of(double, history)


def pixels_of(double: Double, history: dict[str, Any]) -> np.ndarray:
    with Image.open(path_of(double, history)) as picture:
        return np.asarray(picture)


def text_of(double: Double, history: dict[str, Any]) -> dict[str, Any]:
    """What the run's first picture says in its text chunks."""
    with Image.open(path_of(double, history)) as picture:
        return {str(name): json.loads(str(value)) for name, value in picture.info.items()}


def path_of(double: Double, history: dict[str, Any]) -> Path:
    """Where the run's first picture lies."""
    output = next(iter(history["outputs"].values()))["images"][0]
    return double.folders.output / output["subfolder"] / output["filename"]


def listen(double: Double, graphs: Sequence[dict[str, Any]], client: str | None = "me", **query: str) -> list[Any]:
    """Send graphs one after another and return every message of the websocket until the last is done."""

    async def hear() -> list[Any]:
        heard: list[Any] = []
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.ws_connect(f"{double.url}/ws", params={"clientId": client or "me"} | query) as socket,
        ):
            for graph in graphs:
                body = {"prompt": graph} | ({"client_id": client} if client else {})
                async with session.post(f"{double.url}/prompt", json=body) as answer:
                    assert answer.status == 200
                while True:
                    message = json.loads((await socket.receive(PATIENCE)).data)
                    heard.append(message)
                    if is_over(message, aimed=client is not None):
                        break
        return heard

    return asyncio.run(hear())


def is_over(message: dict[str, Any], aimed: bool = True) -> bool:
    """Whether a run's last message was heard; nobody is told so of a run without a client."""
    if aimed:
        return message["type"] == "executing" and message["data"]["node"] is None
    status = message["data"].get("status", {})
    return status.get("exec_info", {}).get("queue_remaining") == 0 and "sid" not in message["data"]


def upload(double: Double, name: str, data: bytes, where: str = "/upload/image", **fields: str) -> tuple[int, str]:
    """(status, body) of one upload."""

    async def post() -> tuple[int, str]:
        form = aiohttp.FormData(fields)
        form.add_field("image", data, filename=name, content_type="image/png")
        async with aiohttp.ClientSession() as session, session.post(double.url + where, data=form) as answer:
            return answer.status, await answer.text()

    return asyncio.run(post())


def read(name: str) -> Any:
    """A recording."""
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def recorded_run(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(history entry, graph) of a recorded history, in either of its two forms."""
    recording = read(name)
    entry = recording if "prompt" in recording else next(iter(recording.values()))
    return entry, copy.deepcopy(entry["prompt"][2])


def build_graph(seed: int = 1, prefix: str = "lab/run", **inputs: dict[str, Any]) -> dict[str, Any]:
    """The recorded text-to-image graph; ``n3={"steps": 4}`` changes inputs of node 3."""
    graph = recorded_run("history_success")[1]
    graph["3"]["inputs"]["seed"] = seed
    graph["9"]["inputs"]["filename_prefix"] = prefix
    for name, values in inputs.items():
        graph[name.removeprefix("n")]["inputs"] |= values
    return graph


def add_lora(graph: dict[str, Any], name: str, model: float = 1.0, clip: float = 1.0) -> dict[str, Any]:
    """``graph`` with a LoraLoader between the checkpoint and all that used it."""
    inputs = {"lora_name": name, "strength_model": model, "strength_clip": clip, "model": ["4", 0], "clip": ["4", 1]}
    graph["10"] = {"class_type": "LoraLoader", "inputs": inputs}
    graph["3"]["inputs"]["model"] = ["10", 0]
    for number in ("6", "7"):
        graph[number]["inputs"]["clip"] = ["10", 1]
    return graph


def save_lora(path: Path, value: float = 1.0, steps: int = 200, module: str = UNET) -> None:
    """A tiny LoRA; another ``value`` is another file."""
    tensors = {f"{module}.{end}": np.full((1, 1), value, np.float32) for end in ("lora_down.weight", "lora_up.weight")}
    write_lora(path, tensors, {"ss_steps": str(steps)})


def place_models(double: Double) -> None:
    """Stand-ins for the files that the recorded graphs name."""
    places = [("checkpoints", name) for name in CHECKPOINTS]
    places += [("instantid", "ip-adapter.bin"), ("controlnet", "instantid/diffusion_pytorch_model.safetensors")]
    for kind, name in places:
        path = double.folders.paths(kind)[0] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = json.dumps({"__metadata__": {"modelspec.title": f"RANDOM {path.stem}",
                             "modelspec.architecture": "stable-diffusion-xl-v1-base"}}).encode()  # fmt: skip
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    (double.loras / "broken.safetensors").write_bytes(b"this is not a safetensors file")
    save_lora(double.loras / "A_kohya_sai.safetensors")
    save_picture(double.folders.input / "idexp" / "idref.png", 90)


def save_picture(path: Path, level: int, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (level, level, level)).save(path)


def compare(value: Any, root: str = "") -> Any:
    """What must be equal in a recording and in the double's answer: all but times, ids, paths and the order of sets."""
    if isinstance(value, dict):
        return {key: type(part).__name__ if key in KEPT_APART else _compare_part(key, part, root)
                for key, part in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [compare(part, root) for part in value]
    if isinstance(value, str):
        return re.sub(r"<comfy\..*>|\{.*\}", "OBJECT", value.replace(root or "/opt/comfyui", "ROOT"))
    return value


def _compare_part(key: str, part: Any, root: str) -> Any:
    if key in ("executed", "current_outputs") and isinstance(part, list):
        return sorted(part)
    if key == "errors":
        part = sorted(part, key=lambda error: error["extra_info"]["input_name"])
    if key == "prompt" and isinstance(part, list):
        return [compare(part[2], root), sorted(part[3]), part[4]]
    return compare(part, root)
