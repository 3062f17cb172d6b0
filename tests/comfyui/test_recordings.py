"""The double gives the answers that a real server of version 0.3.64 gave, to the same requests."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfyui import asking
from comfyui.asking import ask, build_graph, compare, is_over, read, recorded_run
from comfyui.server import Double, open_double

Graph = dict[str, Any]
ENDPOINTS = read("errors_and_endpoints")
STATELESS = [
    name for name in ENDPOINTS
    if name.startswith("GET ") and name not in {
        "GET /queue", "GET /prompt", "GET /history?max_items=1", "GET /internal/logs", "GET /extensions",
        "GET /system_stats", "GET /api/system_stats",
    }
]  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Double]:
    """The double as it was when errors were recorded: no LoRA, no custom nodes."""
    with open_double(tmp_path / "server", custom_nodes=False) as double:
        asking.place_models(double)
        for path in (double.loras / "broken.safetensors", double.loras / "A_kohya_sai.safetensors"):
            path.unlink()
        yield double


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    with open_double(tmp_path / "server") as opened:
        asking.place_models(opened)
        yield opened


def spoil(*changes: Callable[[Graph], Any]) -> Graph:
    graph = build_graph()
    for change in changes:
        change(graph)
    return graph


def add_bad_output(graph: Graph) -> None:
    graph |= {
        "20": {"class_type": "SaveImage", "inputs": {"filename_prefix": "lab/b", "images": ["21", 0]}},
        "21": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["22", 0]}},
        "22": {"class_type": "VAELoader", "inputs": {"vae_name": "nope.safetensors"}},
    }


BAD: dict[str, Callable[[Graph], Any]] = {
    "bad_ckpt": lambda graph: graph["4"]["inputs"].update(ckpt_name="nope.safetensors"),
    "bad_lora_emptylist": lambda graph: asking.add_lora(graph, "missing.safetensors"),
    "bad_sampler_cfg_seed": lambda graph: graph["3"]["inputs"].update(sampler_name="nosuch", cfg=1000.0, seed=-1),
    "bad_type_missing": lambda graph: (graph["3"]["inputs"].update(steps="abc"), graph["3"]["inputs"].pop("denoise")),
    "unknown_class": lambda graph: graph["3"].update(class_type="NoSuchNode"),
    "no_class_type": lambda graph: graph["3"].pop("class_type"),
    "no_outputs": lambda graph: graph.pop("9"),
    "type_mismatch": lambda graph: graph["8"]["inputs"].update(samples=["4", 0]),
    "dangling_link": lambda graph: graph["8"]["inputs"].update(samples=["99", 0]),
    "bad_link": lambda graph: graph["8"]["inputs"].update(samples=["3", 0, 1]),
    "partial_ok": add_bad_output,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_graph_gets_the_recorded_errors(bare: Double, name: str) -> None:
    answer = ask(bare, "POST", "/prompt", {"prompt": spoil(BAD[name]), "prompt_id": "my-own-id-1"})
    assert answer.status == ENDPOINTS[name]["status"]
    assert compare(answer.json, str(bare.folders.root)) == compare(ENDPOINTS[name]["body"])


def test_a_request_that_is_no_prompt_gets_the_recorded_answers(bare: Double) -> None:
    empty = ask(bare, "POST", "/prompt", {})
    assert (empty.status, empty.json) == (400, ENDPOINTS["no_prompt"]["body"])
    broken = ask(bare, "POST", "/prompt", b"{not json")
    assert (broken.status, broken.data.decode()) == (500, ENDPOINTS["not_json"]["body"])
    foreign = ask(bare, "POST", "/prompt", {"prompt": build_graph()}, Origin="http://evil.example")
    assert (foreign.status, foreign.data) == (403, b"")
    assert bare.accepted == []
    assert ask(bare, "GET", "/queue", Origin=bare.url).status == 200


@pytest.mark.parametrize("name", STATELESS)
def test_an_endpoint_gives_the_recorded_answer(bare: Double, name: str) -> None:
    recorded = ENDPOINTS[name]
    answer = ask(bare, "GET", name.removeprefix("GET "))
    assert answer.status == recorded["status"]
    body = answer.json if answer.data else ""
    assert compare(body, str(bare.folders.root)) == compare(recorded["body"])
    if recorded["body"] != "":
        assert answer.kind == recorded["ct"]


@pytest.mark.parametrize("path", ["/system_stats", "/api/system_stats"])
def test_system_stats_have_the_recorded_shape_and_say_what_answers(bare: Double, path: str) -> None:
    recorded = ENDPOINTS[f"GET {path}"]["body"]
    answer = ask(bare, "GET", path).json

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(part) for key, part in value.items()}
        return [shape(value[0])] if isinstance(value, list) else type(value).__name__

    assert shape(answer) == shape(recorded)
    assert answer["system"]["comfyui_version"] == "0.3.64"
    assert "protocol double, recorded from 0.3.64" in json.dumps(answer)


def test_the_log_has_a_time_before_each_line(double: Double) -> None:
    asking.run(double, build_graph())
    text = ask(double, "GET", "/internal/logs").json
    recorded = ENDPOINTS["GET /internal/logs"]["body"].splitlines()[0]
    lines = text.splitlines()
    assert any(line.endswith(" - got prompt") for line in lines)
    assert all(line[10] == recorded[10] == "T" and line[26:29] == recorded[26:29] == " - " for line in lines)
    entries = ask(double, "GET", "/internal/logs/raw").json["entries"]
    assert "".join(f"{entry['t']} - {entry['m']}" for entry in entries) == text


def test_uploads_are_named_as_recorded(double: Double) -> None:
    requests: dict[str, tuple[bytes, dict[str, str]]] = {
        "upload a": (b"a", {}), "upload dup same": (b"a", {}), "upload same name diff": (b"b", {}),
        "upload overwrite": (b"c", {"overwrite": "true"}), "upload subfolder": (b"d", {"subfolder": "identity/x"}),
        "upload traversal": (b"e", {"subfolder": "../../x"}), "upload temp": (b"f", {"type": "temp"}),
    }  # fmt: skip
    assert set(requests) == {name for name in ENDPOINTS if name.startswith("upload")}
    for name, (data, fields) in requests.items():
        assert asking.upload(double, "ref.png", data, **fields) == tuple(ENDPOINTS[name].values()), name
    folders = double.folders
    assert (folders.input / "ref.png").read_bytes() == b"c"
    assert (folders.input / "ref (1).png").read_bytes() == b"b"
    assert (folders.input / "identity/x/ref.png").read_bytes() == b"d"
    assert {path.name for path in folders.root.parent.iterdir()} == {folders.root.name}


def test_an_uploaded_mask_is_the_alpha_of_the_picture_that_it_names(double: Double, tmp_path: Path) -> None:
    asking.save_picture(double.folders.input / "photo.png", 200)
    mask = tmp_path / "mask.png"
    asking.Image.new("RGBA", (64, 64), (0, 0, 0, 7)).save(mask)
    about = json.dumps({"filename": "photo.png", "type": "input"})
    status, body = asking.upload(double, "masked.png", mask.read_bytes(), "/upload/mask", original_ref=about)
    assert (status, json.loads(body)["name"]) == (200, "masked.png")
    with asking.Image.open(double.folders.input / "masked.png") as picture:
        assert picture.getpixel((0, 0)) == (200, 200, 200, 7)


def check_history(double: Double, entry: dict[str, Any], expected: dict[str, Any]) -> None:
    got, wanted = compare(entry, str(double.folders.root)), compare(expected)
    assert got == wanted


def test_the_histories_of_a_run_and_of_its_repetition_are_as_recorded(double: Double) -> None:
    for name in ("history_success", "history_success_cached"):
        entry, graph = recorded_run(name)
        check_history(double, asking.run(double, graph, client_id="me"), entry)
    assert len(list((double.folders.output / "lab").iterdir())) == 1
    last = ask(double, "GET", "/history?max_items=1").json
    graph = build_graph(2)
    asking.run(double, graph, client_id="me")
    newest = ask(double, "GET", "/history?max_items=1").json
    assert newest != last
    recorded = ENDPOINTS["GET /history?max_items=1"]["body"]
    check_history(double, *newest.values(), *recorded.values())


def test_the_histories_of_instantid_graphs_are_as_recorded(double: Double) -> None:
    for name, graph_name in (("False", "basic"), ("True", "advanced")):
        entry, graph = recorded_run(f"history_instantid_{name}")
        assert graph == read(f"graph_lora_instantid_{graph_name}")
        check_history(double, asking.run(double, graph, client_id="me"), entry)


def test_the_history_of_a_broken_lora_is_as_recorded(double: Double) -> None:
    entry, graph = recorded_run("history_execution_error")
    check_history(double, asking.run(double, graph, client_id="me"), entry)


def test_the_history_of_an_interrupted_run_is_as_recorded(double: Double) -> None:
    entry, graph = recorded_run("history_interrupted")
    asking.run(double, build_graph(11))
    double.faults.hold()
    prompt_id = asking.send(double, graph, client_id="me")
    double.wait_for(double.running)
    assert ask(double, "POST", "/interrupt", {"prompt_id": prompt_id}).status == 200
    check_history(double, asking.wait(double, prompt_id), entry)


def queue_of(double: Double) -> dict[str, Any]:
    queue = ask(double, "GET", "/queue").json
    return {name: [compare({"prompt": item}) for item in items] for name, items in queue.items()}


@pytest.mark.parametrize("name", ["queue_running", "queue_running_pending"])
def test_the_queue_is_as_recorded(double: Double, name: str) -> None:
    recorded = read(name)
    double.faults.hold()
    for item in recorded["queue_running"] + recorded["queue_pending"]:
        asking.send(double, item[2], client_id="me")
    double.wait_for(double.running)
    assert queue_of(double) == {part: [compare({"prompt": item}) for item in items] for part, items in recorded.items()}
    assert ask(double, "GET", "/prompt").json == {
        "exec_info": {"queue_remaining": sum(len(items) for items in recorded.values())}
    }
    double.release()


def test_the_queue_shows_a_partial_run_as_recorded(bare: Double) -> None:
    bare.faults.hold()
    asking.send(bare, spoil(lambda graph: graph["3"]["inputs"].update(seed=3), add_bad_output))
    bare.wait_for(bare.running)
    recorded = ENDPOINTS["GET /queue"]["body"]["queue_running"]
    assert queue_of(bare)["queue_running"] == [compare({"prompt": item}) for item in recorded]
    assert ask(bare, "GET", "/prompt").json == ENDPOINTS["GET /prompt"]["body"]
    bare.release()


def test_the_messages_of_a_run_and_of_its_repetition_come_in_the_recorded_order(double: Double) -> None:
    graph = recorded_run("history_success")[1]
    heard = asking.listen(double, [graph, graph])
    recorded = read("ws_success") + read("ws_success_cached")
    assert [message["type"] for message in heard] == [message["type"] for message in recorded]
    assert compare(heard) == compare(recorded)


def test_the_messages_of_an_error_are_as_recorded(double: Double) -> None:
    heard = asking.listen(double, [recorded_run("history_execution_error")[1]])
    assert compare(heard[1:], str(double.folders.root)) == compare(read("ws_execution_error"))


def test_the_messages_of_delete_and_interrupt_are_as_recorded(double: Double) -> None:
    double.occupy("lab/run", 2)
    asking.run(double, build_graph(11, n3={"steps": 1}))
    for step in (0, 1, 2):
        double.faults.hold(step=step)
    heard = asyncio.run(delete_and_interrupt(double))
    assert compare(heard[1:]) == compare(read("ws_interrupt"))


async def delete_and_interrupt(double: Double) -> list[Any]:
    """What was done when ws_interrupt.json was recorded."""
    heard: list[Any] = []
    async with (
        aiohttp.ClientSession(double.url, timeout=aiohttp.ClientTimeout(asking.PATIENCE)) as session,
        session.ws_connect("/ws", params={"clientId": "me"}) as socket,
    ):

        async def hear(times: int = 1, until: str | None = None) -> None:
            while times:
                heard.append(json.loads((await socket.receive(asking.PATIENCE)).data))
                times -= until in (None, heard[-1]["type"])

        async def post(path: str, **body: Any) -> Any:
            async with session.post(path, json=body) as answer:
                return await answer.json(content_type=None)

        first = await post("/prompt", prompt=build_graph(12, n3={"steps": 60}), client_id="me")
        await hear(until="executing")
        second = await post("/prompt", prompt=build_graph(13), client_id="me")
        await post("/prompt", prompt=build_graph(14), client_id="me")
        await hear(2, until="status")
        await asyncio.to_thread(double.release)
        await hear(until="progress")
        await post("/queue", delete=[second["prompt_id"]])
        await hear(until="status")
        await asyncio.to_thread(double.release)
        await hear(until="progress")
        await post("/interrupt", prompt_id=first["prompt_id"])
        for _ in range(2):
            await hear()
            while not is_over(heard[-1]):
                await hear()
    return heard


def test_progress_of_a_run_without_a_client_goes_to_every_websocket_and_nothing_else_does(double: Double) -> None:
    heard = asking.listen(double, [build_graph()], client=None)
    assert {message["type"] for message in heard} == {"status", "progress_state", "progress"}


def test_a_socket_that_comes_back_hears_only_which_node_runs(double: Double) -> None:
    double.faults.hold()
    asking.send(double, build_graph(), client_id="me")
    double.wait_for(lambda: double.running() and double._service.worker.last_node == "3")

    async def come_back() -> list[Any]:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{double.url}/ws?clientId=me") as socket:
            return [json.loads((await socket.receive(5)).data) for _ in range(2)]

    status, executing = asyncio.run(come_back())
    assert status["data"]["sid"] == "me"
    assert executing == {"type": "executing", "data": {"node": "3"}}
    double.release()
