"""A run over ComfyUI servers loses no picture and gives none to the wrong request, whatever the servers do."""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui.server import Double
from comfyui_worlds import WORKFLOWS, hurry, open_server, request, settings, write_stand_in_lora
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from stages.backends.generate.comfyui import run
from stages.backends.generate.comfyui.generator import ComfyGenerator
from stages.backends.generate.comfyui.run import Flight, Run
from stages.backends.generate.comfyui.sent import SentFolder
from stages.contracts.generation import ImageRequest
from stages.contracts.settings import Machine
from stages.flows.scoring import Shot, draw
from stages.runtime.errors import UserError
from stages.runtime.pictures import read_picture

PICTURES = 6
ID = "6f0c6a44-0000-4000-8000-000000000000"


class World:
    """Servers, requests and what each should come to."""

    def __init__(self, folder: Path, base: Path, servers: list[Double]) -> None:
        self.folder, self.base, self.servers = folder, base, servers
        self.requests = [request(base, seed=seed, prompt=f"amira, {seed % 2}") for seed in range(PICTURES)]

    def generator(self, patience: float = 5.0) -> ComfyGenerator:
        urls = tuple(server.url for server in self.servers)
        machine = Machine(comfyui_urls=urls, comfyui_patience=patience, state_dir=self.folder / "state")
        return ComfyGenerator(machine, settings(self.base))

    def draw(self, *requests: ImageRequest, patience: float = 5.0) -> list[np.ndarray]:
        return list(self.generator(patience).generate(requests or self.requests))

    def sent(self) -> list[Path]:
        """What a client believes to be under way."""
        return sorted((self.folder / "state/comfyui").glob("*.json"))


@pytest.fixture
def world(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)
    with open_server(tmp_path / "server") as double:
        yield World(tmp_path, tiny_base, [double])


@pytest.fixture
def two(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)
    with open_server(tmp_path / "one") as one, open_server(tmp_path / "two") as other:
        yield World(tmp_path, tiny_base, [one, other])


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


PASSING: dict[str, Callable[[Double], Any]] = {
    "the queue answers 500": lambda s: s.faults.answer("GET /queue", 500, times=2),
    "a POST answers 503": lambda s: s.faults.answer("POST /prompt", 503, times=2),
    "a POST is refused": lambda s: s.faults.refuse("POST /prompt", after=1, times=2),
    "a POST is taken and never answered": lambda s: s.faults.swallow("POST /prompt", times=2),
    "the history is late": lambda s: s.faults.late_history(0.01, times=2),
    "a file comes truncated": lambda s: s.faults.spoil("truncated", times=2),
    "a file comes empty": lambda s: s.faults.spoil("empty"),
    "another picture comes": lambda s: s.faults.spoil("foreign"),
    "a page of text comes": lambda s: s.faults.spoil("text"),
    "a file was drawn from another graph": lambda s: s.faults.wrong_prompt(times=2),
    "a node fails": lambda s: s.faults.error("KSampler"),
    "the memory is full": lambda s: s.faults.out_of_memory(times=2),
    "the server's disk is full for a while": lambda s: s.faults.disk_full(times=2),
    "somebody presses stop": lambda s: s.faults.interrupt(),
    "the server is slow": lambda s: s.faults.slow(0.1, times=2),
    "there is no websocket": lambda s: s.faults.refuse_websocket(times=99),
    "the websocket breaks": lambda s: s.faults.drop_websocket(3, times=9),
    "the server dies when it is sent work": lambda s: s.faults.die("POST /prompt", back_after=0.05, after=1),
    "the server dies at work": lambda s: s.faults.die("KSampler", back_after=0.05, after=2),
    "the server dies when it is asked": lambda s: s.faults.die("GET /history/*", back_after=0.05, after=1),
    "the server dies before it writes": lambda s: s.faults.die("SaveImage", back_after=0.05, after=1),
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_costs_time_and_no_picture(world: World, fault: str) -> None:
    expected = world.draw()
    planned = PASSING[fault](world.servers[0])
    assert same(world.draw(), expected)
    assert planned.struck
    assert world.sent() == []


def test_every_picture_is_sent_once_when_nothing_goes_wrong(world: World) -> None:
    world.draw()
    (server,) = world.servers
    assert len(server.accepted) == len(set(server.accepted)) == server.drawn == PICTURES
    log = [json.loads(line) for line in Path("logs/comfyui.jsonl").read_text().splitlines()]
    assert [entry["prompt_id"] for entry in log] == server.accepted
    assert all(len(entry["sha256"]) == 64 and entry["url"] == server.url for entry in log)


def test_a_file_name_that_is_taken_is_no_trouble(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """SaveImage counts on; the history says which file is ours."""
    expected = world.draw()
    ids = [uuid.UUID(int=number) for number in range(1, 60)]
    monkeypatch.setattr(uuid, "uuid4", lambda: ids.pop(0))
    for prompt_id in list(ids):  # the double takes some too
        world.servers[0].occupy(f"pistachio/{prompt_id}", 2)
    assert same(world.draw(), expected)
    files = [json.loads(line)["file"] for line in Path("logs/comfyui.jsonl").read_text().splitlines()]
    assert [name[-11:] for name in files[PICTURES:]] == ["_00003_.png"] * PICTURES, files


def test_a_slow_picture_says_how_far_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "LOG_SECONDS", 0.05)
    world.servers[0].faults.slow(0.6)
    world.draw(*world.requests[:1])
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"comfyui: picture 1 of 1: {world.servers[0].url}: draws (")
    assert any("(50%)" in line for line in said)


def test_what_was_sent_long_ago_is_forgotten(world: World) -> None:
    folder = world.folder / "state/comfyui"
    folder.mkdir(parents=True)
    for name, age in (("old", 8 * 86400), ("young", 86400)):
        (folder / f"{name}.json").write_text("{}")
        os.utime(folder / f"{name}.json", (time.time() - age,) * 2)
    world.draw(*world.requests[:1])
    assert [path.stem for path in world.sent()] == ["young"]


def test_two_prompts_are_under_way_at_once_and_no_more(world: World) -> None:
    (server,) = world.servers
    server.faults.hold(times=99)
    pictures = world.generator().generate(world.requests)
    thread = threading.Thread(target=lambda: next(pictures), daemon=True)
    thread.start()
    server.wait_for(lambda: len(server.accepted) == 2)
    time.sleep(0.05)
    assert len(server.accepted) == 2
    assert len(world.sent()) == 2
    server.release(99)
    thread.join(10)
    assert not thread.is_alive()


def test_a_post_that_was_taken_unheard_is_not_sent_again(world: World) -> None:
    world.servers[0].faults.swallow("POST /prompt", times=3)
    world.draw()
    assert len(world.servers[0].accepted) == PICTURES


@pytest.mark.parametrize("what", ["execution", "file", "graph", "interrupted"])
def test_what_does_not_pass_is_one_clear_line_after_some_tries(world: World, what: str) -> None:
    faults, always = world.servers[0].faults, float("inf")
    match what:
        case "execution":
            faults.error("KSampler", "the sampler broke", times=always)
            said = r"KSampler failed: the sampler broke \(4 times; prompt 'amira, [01]', seed [01]\)"
        case "file":
            faults.spoil("truncated", times=always)
            said = "not a whole picture"
        case "graph":
            faults.wrong_prompt(times=always)
            said = "drawn from another graph"
        case _:
            faults.interrupt(times=always)
            said = "somebody interrupted it"
    with pytest.raises(UserError, match=said):
        world.draw()
    world.servers[0].wait_for(lambda: not world.servers[0].running() and not world.servers[0].pending())
    faults.clear()
    assert same(world.draw(), world.draw())


def test_memory_that_is_full_for_good_says_what_to_do(world: World) -> None:
    world.servers[0].faults.out_of_memory(times=float("inf"))
    with pytest.raises(UserError, match="lower the resolution, set vae_tile, or start ComfyUI with --lowvram"):
        world.draw()


def test_a_partial_acceptance_is_an_error_and_leaves_nothing_running(world: World, tmp_path: Path) -> None:
    graph = json.loads(Path(settings(world.base).workflows["plain"]).read_text())
    graph["90"] = {"class_type": "VAELoader", "inputs": {"vae_name": "none.safetensors"}}
    decode = next(number for number, node in graph.items() if node["class_type"] == "VAEDecode")
    graph["91"] = {"class_type": "VAEDecode", "inputs": graph[decode]["inputs"] | {"vae": ["90", 0]}}
    graph["92"] = {"class_type": "PreviewImage", "inputs": {"images": ["91", 0]}}
    path = tmp_path / "two_outputs.json"
    path.write_text(json.dumps(graph))
    generator = world.generator()
    generator.planner.settings = settings(world.base, workflows={"plain": path})
    with pytest.raises(UserError, match=r"vae_name 'none\.safetensors' is not on the server"):
        generator.generate(world.requests)
    generator = world.generator()
    job = generator.planner.plan(world.requests[0])
    server = generator.deployments[0].server
    with pytest.raises(UserError, match="would draw only a part of the graph: node 90"):
        server.send(graph | _outputs(graph), "6f0c6a44-0000-4000-8000-000000000000", "me", {})
    assert job.key
    world.servers[0].wait_for(lambda: not world.servers[0].running() and not world.servers[0].pending())


def _outputs(graph: dict[str, Any]) -> dict[str, Any]:
    checkpoint = next(number for number, node in graph.items() if node["class_type"] == "CheckpointLoaderSimple")
    loaded = graph[checkpoint] | {"inputs": {"ckpt_name": "base.safetensors"}}
    return {checkpoint: loaded}


def test_a_server_without_the_model_or_the_nodes_is_refused_before_anything_is_sent(world: World) -> None:
    (world.servers[0].folders.paths("checkpoints")[0] / "base.safetensors").unlink()
    with pytest.raises(UserError, match=r"ckpt_name 'base\.safetensors' is not on the server"):
        world.generator().generate(world.requests)
    assert world.servers[0].accepted == []


def test_a_lora_whose_keys_are_not_loaded_is_an_error(world: World, tmp_path: Path) -> None:
    """ComfyUI says success and draws as without it: the second silent wrong result."""
    lora = write_stand_in_lora(tmp_path / "strange.safetensors", key="unet.down_blocks.0.attn")
    with pytest.raises(UserError, match=r"leaves out 2 of its tensors, for example unet\.down_blocks"):
        world.draw(request(world.base, lora=lora))
    good = write_stand_in_lora(tmp_path / "good.safetensors")
    assert len(world.draw(request(world.base, lora=good))) == 1


def test_a_lora_that_somebody_else_s_prompt_has_loaded_is_checked_all_the_same(world: World, tmp_path: Path) -> None:
    """Its loader does not run again, so the log says nothing new."""
    lora = write_stand_in_lora(tmp_path / "strange.safetensors", key="unet.down_blocks.0.attn")
    asked = request(world.base, lora=lora)
    theirs = world.generator()
    job = theirs.planner.plan(asked)
    theirs.deployments[0].prepare([job])
    theirs.deployments[0].server.send(theirs.deployments[0].graph(job, ID, ""), ID, "them", {})
    world.servers[0].wait_for(lambda: theirs.deployments[0].server.history(ID))
    with pytest.raises(UserError, match="leaves out 2 of its tensors"):
        world.draw(asked)


def test_a_lora_is_staged_under_the_name_of_its_bytes(world: World, tmp_path: Path) -> None:
    """ComfyUI keeps the weights of a name: the first silent wrong result."""
    lora = write_stand_in_lora(tmp_path / "amira.safetensors", steps=200)
    asked = request(world.base, lora=lora)
    first = world.draw(asked)
    write_stand_in_lora(lora, steps=20)
    assert not same(world.draw(asked), first)
    staged = sorted(path.name for path in world.servers[0].loras.glob("amira-*.safetensors"))
    assert len(staged) == 2
    (world.servers[0].loras / staged[0]).write_bytes(b"cut off")
    write_stand_in_lora(lora, steps=200)
    assert same(world.draw(asked), first)


def test_a_lora_folder_that_the_server_does_not_see_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    generator = world.generator()
    generator.deployments[0].loras = tmp_path / "elsewhere"
    lora = write_stand_in_lora(tmp_path / "amira.safetensors")
    with pytest.raises(UserError, match="does not see the LoRA amira-.*set machine.comfyui_loras"):
        generator.generate([request(world.base, lora=lora)])


def test_two_pictures_of_one_prompt_are_no_answer(world: World, tmp_path: Path) -> None:
    """Which of them would be the one that was asked for?"""
    generator = world.generator()
    jobs = [generator.planner.plan(world.requests[0])]
    one = Run(generator.prepare(jobs), jobs, SentFolder(tmp_path), 1.0)
    (post,), flight = one.posts, Flight(0, "an-id", {}, None)
    post.flights.append(flight)
    one._end(post, flight, {"outputs": {jobs[0].workflow.roles["save"]: {"images": [{}, {}]}}})
    assert (one.tries[0], one.ready) == (1, {})


def test_a_picture_of_another_size_is_no_answer(world: World, tmp_path: Path, faces: list[np.ndarray]) -> None:
    """A workflow that takes its size from somewhere else: here from the picture that is changed."""
    from stages.runtime.pictures import write_png

    write_png(tmp_path / "small.png", faces[0])
    files = {"image": tmp_path / "small.png", "mask": tmp_path / "small.png"}
    lora = write_stand_in_lora(tmp_path / "amira.safetensors")
    generator = world.generator()
    inpaint = {"lora": WORKFLOWS / "inpaint.json"}
    generator.planner.settings = settings(world.base, workflows=settings(world.base).workflows | inpaint)
    assert len(list(generator.generate([request(world.base, lora=lora, **files)]))) == 1
    with pytest.raises(UserError, match="is 64x64, not 128x64"):
        list(generator.generate([request(world.base, lora=lora, width=128, **files)]))


@pytest.mark.parametrize("mode", ["lora+instantid", "lora+ipadapter"])
def test_the_photo_conditions_the_face(world: World, tmp_path: Path, faces: list[np.ndarray], mode: str) -> None:
    from stages.runtime.pictures import write_png

    lora = write_stand_in_lora(tmp_path / "amira.safetensors", steps=1)
    write_png(tmp_path / "a.png", faces[0])
    write_png(tmp_path / "b.png", faces[1])
    asked = request(world.base, lora=lora, mode=mode, reference=tmp_path / "a.png")
    plain, first, again, other = world.draw(
        replace(asked, mode="lora", reference=None), asked, asked, replace(asked, reference=tmp_path / "b.png")
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(plain, first)
    assert not np.array_equal(first, other)


def test_a_killed_client_s_pictures_are_taken_up_and_not_drawn_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = world.draw()
    server = world.servers[0]
    server.faults.hold(after=2, times=2)
    before = len(server.accepted)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_cancel", lambda self: None)  # who is killed cancels nothing
        pictures = world.generator().generate(world.requests)
        kept = [next(pictures), next(pictures)]
        server.wait_for(lambda: len(server.running()) + len(server.pending()) >= 1)
        pictures.close()  # type: ignore[attr-defined]
    assert world.sent()
    server.release(99)
    rest = world.draw(*world.requests[2:])
    assert same(kept + rest, expected)
    assert len(server.accepted) - before == PICTURES


def test_what_is_no_longer_wanted_is_taken_back(world: World) -> None:
    server = world.servers[0]
    server.faults.hold(after=1, times=99)
    pictures = world.generator().generate(world.requests)
    next(pictures)
    server.wait_for(lambda: server.running() and server.pending())
    pictures.close()  # type: ignore[attr-defined]
    server.wait_for(lambda: not server.running() and not server.pending())
    assert world.sent() == []


def test_only_our_own_prompt_is_interrupted(world: World) -> None:
    """Somebody else works in the same ComfyUI: theirs goes on."""
    server = world.servers[0]
    generator = world.generator()
    theirs = generator.deployments[0]
    job = generator.planner.plan(request(world.base, seed=77))
    graph = theirs.graph(job, "6f0c6a44-0000-4000-8000-000000000001", "")
    server.faults.hold(times=1)
    theirs.server.send(graph, "6f0c6a44-0000-4000-8000-000000000001", "them", {})
    server.wait_for(server.running)
    pictures = world.generator().generate(world.requests)
    thread = threading.Thread(target=lambda: next(pictures, None), daemon=True)
    thread.start()
    server.wait_for(lambda: len(server.pending()) == 2)
    server.release(99)
    thread.join(10)
    pictures.close()  # type: ignore[attr-defined]
    record = theirs.server.history("6f0c6a44-0000-4000-8000-000000000001")
    assert record is not None
    assert record["status"]["status_str"] == "success"


def test_nobody_answers_is_one_line(world: World) -> None:
    world.servers[0].stop()
    with pytest.raises(UserError, match=r"no ComfyUI server answers .*no connection.*start it"):
        world.generator().generate(world.requests)


def test_a_server_that_goes_for_good_ends_the_run_after_the_patience_and_keeps_what_was_drawn(world: World) -> None:
    pictures = world.generator(patience=0.3).generate(world.requests)
    first = next(pictures)
    world.servers[0].die()
    with pytest.raises(UserError, match=r"no ComfyUI server answers for 0\.3 s"):
        list(pictures)
    world.servers[0].revive()
    assert np.array_equal(world.draw()[0], first)


def test_a_foreign_server_is_refused(world: World) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as other:
        thread = threading.Thread(target=other.serve_forever, daemon=True)
        thread.start()
        machine = Machine(comfyui_urls=(f"http://127.0.0.1:{other.server_port}",))
        with pytest.raises(UserError, match="not the JSON"):
            _ = ComfyGenerator(machine, settings(world.base)).identity
        other.shutdown()


def test_two_servers_share_the_work_and_draw_the_same(two: World) -> None:
    expected = World(two.folder, two.base, two.servers[:1]).draw()
    for server in two.servers:
        server.faults.slow(0.03, times=99)
    before = [server.drawn for server in two.servers]
    assert same(two.draw(), expected)
    assert all(server.drawn > drawn for server, drawn in zip(two.servers, before, strict=True))


def test_a_dead_server_s_work_moves_to_another_and_it_may_come_back(two: World) -> None:
    expected = World(two.folder, two.base, two.servers[:1]).draw()
    two.servers[1].faults.die("KSampler", after=1)
    assert same(two.draw(), expected)
    assert not two.servers[1].alive
    assert same(two.draw(), expected)  # it is silent from the beginning
    two.servers[1].revive()
    assert same(two.draw(), expected)


def test_servers_of_different_versions_are_refused(tmp_path: Path, tiny_base: Path) -> None:
    with open_server(tmp_path / "one") as one, open_server(tmp_path / "two", dialect="newer") as other:
        world = World(tmp_path, tiny_base, [one, other])
        with pytest.raises(UserError, match="the servers run different versions: ComfyUI"):
            _ = world.generator().identity


def test_the_newer_dialect_is_spoken(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)
    with open_server(tmp_path / "one") as one, open_server(tmp_path / "two", dialect="newer") as other:
        lora = write_stand_in_lora(tmp_path / "amira.safetensors")
        old, new = (World(tmp_path, tiny_base, [server]) for server in (one, other))
        asked = [*old.requests, request(tiny_base, lora=lora)]
        assert same(new.draw(*asked), old.draw(*asked))


KINDS = (
    "answer", "refuse", "swallow", "delay", "late_history", "spoil", "wrong_prompt", "error", "interrupt", "disk_full",
    "out_of_memory", "slow", "die", "drop_websocket", "kill", "restart",
)  # fmt: skip
ROUTES = ("POST /prompt", "GET /queue", "GET /history/*", "GET /view*", "GET /internal/logs/raw", "*")
fault = st.fixed_dictionaries({
    "kind": st.sampled_from(KINDS), "server": st.integers(0, 1), "route": st.sampled_from(ROUTES),
    "after": st.integers(0, 6), "times": st.integers(1, 3), "how": st.sampled_from(["truncated", "empty", "foreign"]),
    "node": st.sampled_from(["KSampler", "SaveImage", "VAEDecode"]), "status": st.sampled_from([500, 502, 503]),
})  # fmt: skip


def plan_fault(server: Double, told: dict[str, Any]) -> None:
    faults, when = server.faults, {"after": told["after"], "times": told["times"]}
    match told["kind"]:
        case "answer":
            faults.answer(told["route"], told["status"], **when)
        case "refuse" | "swallow":
            getattr(faults, told["kind"])(told["route"], **when)
        case "delay":
            faults.delay(told["route"], 0.02, **when)
        case "late_history":
            faults.late_history(0.02, **when)
        case "spoil":
            faults.spoil(told["how"], **when)
        case "wrong_prompt" | "disk_full" | "out_of_memory":
            getattr(faults, told["kind"])(**when)
        case "error" | "interrupt":
            getattr(faults, told["kind"])(told["node"], **when)
        case "slow":
            faults.slow(0.02, **when)
        case "die":
            faults.die(told["route"] if told["how"] == "empty" else told["node"], back_after=0.02, after=told["after"])
        case "drop_websocket":
            faults.drop_websocket(told["after"], times=told["times"])


class Servers:
    """Two doubles for all schedules, and the pictures that they should draw."""

    def __init__(self, folder: Path, base: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.doubles = [stack.enter_context(open_server(folder / name)) for name in ("one", "two")]
        lora = write_stand_in_lora(folder / "amira.safetensors")
        self.world = World(folder, base, self.doubles)
        self.requests = [replace(r, lora=lora, strength=1.0 + r.seed / 10) for r in self.world.requests]
        self.truth = World(folder, base, self.doubles[:1]).draw(*self.requests)

    def calm(self) -> None:
        """Nothing is planned, and everybody lives."""
        for double in self.doubles:
            double.faults.clear()
            if not double.alive:
                double.wait_for(lambda d=double: d.alive or d.revive() or True)  # type: ignore[misc]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), tiny_base, stack)


def attempt(servers: Servers, shots: list[Shot], kept: Path, kill_after: int | None) -> bool:
    """One run of a client, which may be killed; whether it came to its end."""
    try:
        for number, _ in enumerate(draw(servers.world.generator(), shots, kept)):
            if number == kill_after:
                return False
    except UserError:
        return False
    return True


def survive(servers: Servers, schedule: list[dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw under a schedule of faults, run again until done, and compare every picture with the truth."""
    kept = folder / "kept"
    shots = [Shot(r, i, "", folder / f"{i}.png") for i, r in enumerate(servers.requests)]
    kills = [told["after"] for told in schedule if told["kind"] == "kill"]
    for told in schedule:
        plan_fault(servers.doubles[told["server"]], told)
    if any(told["kind"] == "restart" for told in schedule):
        threading.Timer(0.03, servers.doubles[0].restart).start()
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_cancel", lambda self: None)
        for kill_after in [*kills, None]:
            attempt(servers, shots, kept, kill_after)
    servers.calm()
    assert attempt(servers, shots, kept, None)
    assert same([read_picture(shot.path) for shot in shots], servers.truth)


def _storm(servers: Servers, tmp_path_factory: pytest.TempPathFactory, examples: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(servers.folder)
        hurry(monkeypatch)

        @trials(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(fault, min_size=1, max_size=5))
        def storm(schedule: list[dict[str, Any]]) -> None:
            with monkeypatch.context() as patch:
                survive(servers, schedule, tmp_path_factory.mktemp("storm"), patch)

        storm()


def test_no_schedule_of_faults_loses_a_picture_or_gives_it_to_another_request(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _storm(servers, tmp_path_factory, 15)


@pytest.mark.slow
def test_no_schedule_of_many_faults_loses_a_picture_or_gives_it_to_another_request(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _storm(servers, tmp_path_factory, 220)


def test_a_full_disk_here_keeps_what_was_drawn(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shots = [Shot(r, i, "", tmp_path / f"{i}.png") for i, r in enumerate(world.requests)]
    from stages.flows import drawing

    written = 0

    def write(image: np.ndarray, *paths: Path) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise OSError(28, "No space left on device", str(paths[0]))
        real(image, *paths)

    real = drawing._write
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_write", write)
        with pytest.raises(OSError, match="No space left"):
            list(draw(world.generator(), shots, tmp_path / "kept"))
    kept = len(list((tmp_path / "kept").glob("*.png")))
    assert 0 < kept < PICTURES
    before = len(world.servers[0].accepted)
    assert len(list(draw(world.generator(), shots, tmp_path / "kept"))) == PICTURES
    assert len(world.servers[0].accepted) - before == PICTURES - kept
    assert run.LOG.exists()
