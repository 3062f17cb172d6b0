"""Every fault that a test can plan does what it says, as often as it says, and then no more."""

import asyncio
import http.client
import io
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfyui import asking
from comfyui.asking import ask, build_graph
from comfyui.faults import Faults
from comfyui.server import Double, open_double
from PIL import Image

BROKEN = (http.client.RemoteDisconnected, ConnectionResetError)
VIEW = "/view?filename=run_00001_.png&subfolder=lab"


@pytest.fixture
def double(tmp_path: Path) -> Iterator[Double]:
    with open_double(tmp_path / "server") as opened:
        asking.place_models(opened)
        yield opened


def last_message(history: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    event, about = history["status"]["messages"][-1]
    return event, about


# The schedule


def test_a_fault_lets_some_events_pass_strikes_the_next_and_is_used_up() -> None:
    faults = Faults()
    fault = faults.answer("GET /q*", 503, after=1, times=2)
    struck = [faults.strike("answer", where) is fault for where in ("GET /queue", "POST /queue", *["GET /q"] * 4)]
    assert struck == [False, False, True, True, False, False]
    assert (fault.seen, fault.struck) == (5, 2)


def test_faults_of_one_kind_count_apart_and_clear_removes_all() -> None:
    faults = Faults()
    first, third = faults.answer("GET /q", 500), faults.answer("GET /q", 503, after=2, times=math.inf)
    struck = [faults.strike("answer", "GET /q") for _ in range(4)]
    assert struck == [first, None, third, third]
    faults.clear()
    assert faults.strike("answer", "GET /q") is None


# Requests


def test_an_answer_comes_for_the_nth_request_and_nothing_is_done(double: Double) -> None:
    double.faults.answer("POST /prompt", 503, "busy", after=1)
    asking.send(double, build_graph(1))
    answer = ask(double, "POST", "/api/prompt", {"prompt": build_graph(2)})
    assert (answer.status, answer.data) == (503, b"busy")
    asking.run(double, build_graph(3))
    assert len(double.accepted) == 2
    assert double.count("POST /prompt") == 2
    assert double.count("POST /api/prompt") == 1


def test_a_refused_request_did_nothing_and_a_swallowed_one_did(double: Double) -> None:
    double.faults.refuse("POST /prompt")
    double.faults.swallow("POST /prompt")
    for accepted in ([], ["heard-not"]):
        with pytest.raises(BROKEN):
            ask(double, "POST", "/prompt", {"prompt": build_graph(), "prompt_id": "heard-not"})
        assert double.accepted == accepted
    assert asking.wait(double, "heard-not")["status"]["completed"]


def test_a_delayed_answer_is_late_but_the_work_is_done_at_once(double: Double) -> None:
    double.faults.delay("POST /prompt", 30)
    with pytest.raises(TimeoutError):
        ask(double, "POST", "/prompt", {"prompt": build_graph(), "prompt_id": "late"}, seconds=0.1)
    assert asking.wait(double, "late")["status"]["completed"]
    double.faults.delay("GET /queue", 0.2)
    start = time.monotonic()
    assert ask(double, "GET", "/queue").status == 200
    assert time.monotonic() - start >= 0.2


def test_a_hanging_request_is_never_answered_and_did_nothing(double: Double) -> None:
    double.faults.hang("POST /prompt")
    with pytest.raises(TimeoutError):
        ask(double, "POST", "/prompt", {"prompt": build_graph()}, seconds=0.1)
    double.faults.hang("GET /queue", seconds=0.05)
    with pytest.raises(BROKEN):
        ask(double, "GET", "/queue")
    assert double.accepted == []


# The server


def test_it_dies_when_it_accepted_a_prompt_and_comes_back_on_its_port_with_no_memory(double: Double) -> None:
    double.faults.die("POST /prompt", back_after=0.1)
    with pytest.raises(BROKEN):
        ask(double, "POST", "/prompt", {"prompt": build_graph(), "prompt_id": "lost"})
    assert double.accepted == ["lost"]
    double.wait_for(lambda: not double.alive)
    with pytest.raises(ConnectionRefusedError):
        ask(double, "GET", "/queue")
    double.wait_for(lambda: double.lives == 2 and double.alive)
    assert ask(double, "GET", "/history/lost").json == {}
    assert asking.run(double, build_graph())["status"]["completed"]


def test_it_dies_while_a_node_runs_and_stays_dead_until_it_is_revived(double: Double) -> None:
    double.faults.die("VAEDecode")
    asking.send(double, build_graph(), prompt_id="lost")
    double.wait_for(lambda: not double.alive)
    with pytest.raises(ConnectionRefusedError):
        ask(double, "GET", "/queue")
    double.revive()
    assert ask(double, "GET", "/history/lost").json == {}
    assert double.drawn == 0
    double.die()
    double.die()
    assert double.lives == 2


def test_pictures_drawn_are_counted_over_all_lives(double: Double) -> None:
    asking.run(double, build_graph(1))
    double.restart()
    asking.run(double, build_graph(2))
    double.die()
    assert double.drawn == 2


# Runs


def test_an_error_names_the_node_and_leaves_the_next_run_alone(double: Double) -> None:
    double.faults.error("VAEDecode", "broken pipe", "builtins.ValueError")
    event, about = last_message(asking.run(double, build_graph()))
    assert event == "execution_error"
    assert (about["node_type"], about["exception_message"], about["exception_type"]) == (
        "VAEDecode", "broken pipe\n", "ValueError",
    )  # fmt: skip
    assert asking.run(double, build_graph())["status"]["completed"]


def test_out_of_memory_and_a_full_disk_are_errors_of_their_nodes(double: Double) -> None:
    double.faults.out_of_memory()
    double.faults.disk_full()
    _, memory = last_message(asking.run(double, build_graph(1)))
    assert (memory["node_type"], memory["exception_type"]) == ("KSampler", "torch.OutOfMemoryError")
    _, disk = last_message(asking.run(double, build_graph(2)))
    assert (disk["node_type"], disk["exception_type"]) == ("SaveImage", "OSError")
    assert "No space left on device" in disk["exception_message"]
    assert not list(double.folders.output.rglob("*.png"))


def test_a_photo_without_a_face_is_an_error_of_instantid(double: Double) -> None:
    double.faults.no_face()
    event, about = last_message(asking.run(double, asking.read("graph_lora_instantid_basic")))
    assert (event, about["node_type"], about["exception_type"]) == ("execution_error", "ApplyInstantID", "Exception")
    assert about["exception_message"] == "Reference Image: No face detected.\n"


def test_somebody_else_interrupts(double: Double) -> None:
    double.faults.interrupt()
    assert last_message(asking.run(double, build_graph(1)))[0] == "execution_interrupted"
    double.faults.hold()
    prompt_id = asking.send(double, build_graph(2))
    double.wait_for(double.running)
    double.interrupt()
    assert last_message(asking.wait(double, prompt_id))[0] == "execution_interrupted"


@pytest.mark.parametrize("node", ["KSampler", "VAEDecode"])
def test_a_slow_node_takes_its_time_and_can_be_interrupted(double: Double, node: str) -> None:
    double.faults.slow(0.2, node)
    double.faults.slow(60, node, after=1)
    start = time.monotonic()
    asking.run(double, build_graph(1))
    assert time.monotonic() - start >= 0.2
    prompt_id = asking.send(double, build_graph(2, n3={"steps": 1000}))
    double.wait_for(double.running)
    time.sleep(0.05)
    double.interrupt()
    assert last_message(asking.wait(double, prompt_id))[0] == "execution_interrupted"


def test_a_node_can_leave_a_line_in_the_log_and_go_on(double: Double) -> None:
    double.faults.grumble("ERROR lora diffusion_model.x shape mismatch")
    asking.run(double, asking.add_lora(build_graph(), "A_kohya_sai.safetensors"))
    assert "ERROR lora diffusion_model.x shape mismatch\n" in double.log
    assert double.drawn == 1


def test_a_held_run_goes_on_when_it_is_released(double: Double) -> None:
    double.faults.hold("SaveImage")
    prompt_id = asking.send(double, build_graph())
    double.wait_for(double.running)
    time.sleep(0.05)
    assert ask(double, "GET", f"/history/{prompt_id}").json == {}
    double.release()
    assert asking.wait(double, prompt_id)["status"]["completed"]


def test_a_history_can_be_late(double: Double) -> None:
    double.faults.late_history(0.2)
    prompt_id = asking.send(double, build_graph())
    double.wait_for(lambda: double.drawn == 1)
    assert ask(double, "GET", f"/history/{prompt_id}").json == {}
    assert double.running() == [prompt_id]
    assert asking.wait(double, prompt_id)["status"]["completed"]


def test_a_picture_can_carry_another_graph(double: Double) -> None:
    double.faults.wrong_prompt()
    for seed, right in ((1, False), (2, True)):
        text = asking.text_of(double, asking.run(double, build_graph(seed)))
        assert (text["prompt"] == build_graph(seed)) is right


# Pictures on their way out


def test_a_spoilt_picture_is_spoilt_on_its_way_only(double: Double) -> None:
    whole = asking.path_of(double, asking.run(double, build_graph())).read_bytes()
    for how in ("truncated", "empty", "text", "foreign"):
        double.faults.spoil(how)
        spoilt = ask(double, "GET", VIEW)
        assert spoilt.status == 200
        assert spoilt.data != whole, how
        assert ask(double, "GET", VIEW).data == whole
        match how:
            case "truncated":
                assert whole.startswith(spoilt.data)
            case "empty":
                assert spoilt.data == b""
            case "foreign":
                with Image.open(io.BytesIO(spoilt.data)) as picture:
                    assert picture.info == {}
    double.faults.spoil("empty", times=math.inf)
    assert [ask(double, "GET", VIEW).data for _ in range(3)] == [b""] * 3


def test_a_way_to_spoil_a_picture_must_exist(double: Double) -> None:
    with pytest.raises(ValueError):
        double.faults.spoil("melted")


def test_names_that_are_taken_are_not_overwritten(double: Double) -> None:
    double.occupy("lab/run", 3)
    history = asking.run(double, build_graph())
    assert asking.path_of(double, history).name == "run_00004_.png"


# The websocket


def test_the_websocket_does_not_open_and_runs_go_on(double: Double) -> None:
    double.faults.refuse_websocket()
    with pytest.raises(aiohttp.WSServerHandshakeError):
        asking.listen(double, [build_graph()])
    assert asking.run(double, build_graph())["status"]["completed"]
    assert asking.listen(double, [build_graph(2)])


def test_the_websocket_breaks_after_some_messages_and_runs_go_on(double: Double) -> None:
    double.faults.drop_websocket(3)
    double.faults.hold()

    async def hear() -> int:
        heard = 0
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{double.url}/ws?clientId=me") as socket:
            async with session.post(f"{double.url}/prompt", json={"prompt": build_graph(), "client_id": "me"}):
                pass
            while (await socket.receive(5)).type == aiohttp.WSMsgType.TEXT:
                heard += 1
        return heard

    assert asyncio.run(hear()) == 3
    double.release()
    assert asking.wait(double, double.accepted[0])["status"]["completed"]


def test_the_websocket_breaks_when_the_server_dies(double: Double) -> None:
    async def hear() -> Any:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{double.url}/ws?clientId=me") as socket:
            await socket.receive(5)
            await asyncio.to_thread(double.die)
            return (await socket.receive(5)).type

    assert asyncio.run(hear()) in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
