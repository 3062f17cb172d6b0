"""Nobody vouches for a picture who did not see all of its LoRA applied, by the same server, to the same base."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from comfyui.server import Double
from comfyui_worlds import hurry, open_server, request, settings, write_stand_in_lora

from stages.backends.generate.comfyui.generator import ComfyGenerator
from stages.backends.generate.comfyui.jobs import Base, Planner
from stages.backends.generate.comfyui.run import Run
from stages.backends.generate.comfyui.sent import Sending, SentFolder
from stages.backends.generate.comfyui.server import ANSWER, BRIEF
from stages.contracts.generation import ImageRequest
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError

AN_ID = "6f0c6a44-0000-4000-8000-000000000001"
Open = Callable[..., ComfyGenerator]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.chdir(tmp_path)
    hurry(monkeypatch)
    with open_server(tmp_path / "server") as double:
        yield double


@pytest.fixture
def start(tmp_path: Path, tiny_base: Path, server: Double) -> Open:
    """A new client, as after a kill or from another terminal."""

    def client(*others: Double) -> ComfyGenerator:
        urls = (server.url, *(other.url for other in others))
        return ComfyGenerator(Machine(comfyui_urls=urls, state_dir=tmp_path / "state"), settings(tiny_base))

    return client


@pytest.fixture
def good(tmp_path: Path, tiny_base: Path) -> ImageRequest:
    return request(tiny_base, lora=write_stand_in_lora(tmp_path / "good.safetensors"))


@pytest.fixture
def bad(tmp_path: Path, tiny_base: Path) -> ImageRequest:
    """With a LoRA that ComfyUI leaves out, saying success."""
    return request(tiny_base, lora=write_stand_in_lora(tmp_path / "bad.safetensors", key="unet.down_blocks.0.attn"))


def sent_by_another(client: ComfyGenerator, asked: ImageRequest, folder: Path, **about: str) -> None:
    """Send a picture as a client does that is killed before it fetches it."""
    job = client.planner.plan(asked)
    client.prepare([job])
    deployment = client.deployments[0]
    told = {"mark": "theirs", "version": deployment.version, "since": deployment.open_log(job)} | about
    SentFolder(folder / "state/comfyui").write(job.key, Sending(deployment.server.url, AN_ID, **told))  # type: ignore[arg-type]
    deployment.server.send(deployment.graph(job, AN_ID, "theirs"), AN_ID, "them", {})


def test_a_lora_that_is_left_out_is_refused_again_although_the_server_does_not_say_it_twice(
    start: Open, bad: ImageRequest
) -> None:
    client = start()
    for one in (start(), start(), client, client):
        with pytest.raises(UserError, match="leaves out 2 of its tensors"):
            list(one.generate([bad]))


def test_the_second_picture_does_not_vouch_for_the_lora_where_the_first_could_not_be_read(
    server: Double, start: Open, bad: ImageRequest, tiny_base: Path
) -> None:
    server.faults.spoil("truncated", times=1)
    with pytest.raises(UserError, match="leaves out"):
        list(start().generate([bad, request(tiny_base, lora=bad.lora, seed=2)]))


def test_a_killed_client_s_picture_is_not_believed_when_the_log_is_gone(
    server: Double, start: Open, bad: ImageRequest, tmp_path: Path
) -> None:
    list(start().generate([request(bad.base)]))  # something stands in the log
    sent_by_another(start(), bad, tmp_path)
    server.wait_for(lambda: server.drawn == 2)
    server.restart()
    with pytest.raises(UserError, match="leaves out"):
        list(start().generate([bad]))


@pytest.mark.parametrize(("version", "drawn"), [({}, 1), ({"version": "ComfyUI of last year"}, 2)])
def test_a_killed_client_s_picture_is_taken_up_if_the_same_version_drew_it(
    server: Double, start: Open, good: ImageRequest, tmp_path: Path, version: dict[str, str], drawn: int
) -> None:
    sent_by_another(start(), good, tmp_path, **version)
    server.wait_for(lambda: server.drawn == 1)
    assert len(list(start().generate([good]))) == 1
    assert server.drawn == drawn


@pytest.mark.parametrize("line", ["NOT LOADED lora_unet_x", "ERROR lora x.weight shape '[320]' is invalid"])
def test_modules_that_the_model_lacks_and_tensors_of_another_shape_are_left_out_too(
    server: Double, start: Open, good: ImageRequest, line: str
) -> None:
    server.faults.grumble(line, "KSampler")
    with pytest.raises(UserError, match=f"for example {line[:10]}"):
        list(start().generate([good]))


def test_a_log_that_cannot_be_read_is_refused_and_only_where_there_is_a_lora(
    server: Double, start: Open, good: ImageRequest
) -> None:
    server.faults.answer("GET /internal/logs/raw", 404, times=99)
    with pytest.raises(UserError, match=r"does not show its log \(HTTP 404\).*update ComfyUI"):
        list(start().generate([good]))
    assert len(list(start().generate([request(good.base)]))) == 1


def test_a_lora_is_looked_at_with_every_base_and_workflow(start: Open, good: ImageRequest) -> None:
    client = start()
    list(client.generate([good]))
    (deployment,) = client.deployments
    job = client.planner.plan(good)
    assert deployment.open_log(job) is None
    other = Planner(settings(good.base))
    other.bases[good.base] = Base("other.safetensors", job.base.noise, job.base.zeros)
    assert deployment.open_log(other.plan(good)) is not None


def test_one_generator_draws_with_one_lora_after_another(start: Open, good: ImageRequest, tmp_path: Path) -> None:
    client = start()
    second = request(good.base, lora=write_stand_in_lora(tmp_path / "second.safetensors", steps=1))
    (first,), (other,) = (list(client.generate([asked])) for asked in (good, second))
    assert not np.array_equal(first, other)


def test_a_lora_that_changes_while_it_is_staged_is_refused(start: Open, good: ImageRequest, server: Double) -> None:
    client = start()
    assert good.lora is not None
    client.planner.hashes[good.lora] = "0" * 64
    with pytest.raises(UserError, match="was changed while it was read"):
        client.generate([good])
    assert not list(server.loras.glob("good*"))


def test_a_late_picture_that_was_lost_does_not_hold_up_the_early_ones(
    start: Open, tiny_base: Path, tmp_path: Path
) -> None:
    client = start()
    asked = [request(tiny_base, seed=seed) for seed in range(20)]
    key, version = client.planner.plan(asked[15]).key, client.deployments[0].read_version()
    SentFolder(tmp_path / "state/comfyui").write(key, Sending(client.deployments[0].server.url, AN_ID, version=version))
    drawn: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: drawn.extend(client.generate(asked)), daemon=True)
    thread.start()
    thread.join(60)
    assert len(drawn) == 20


def test_what_does_not_run_is_not_interrupted(server: Double, start: Open) -> None:
    """Older servers interrupt whatever runs, whoever's it is."""
    start().deployments[0].server.cancel(AN_ID)
    assert server.count("POST /queue") == 1
    assert server.count("POST /interrupt") == 0


def test_what_a_server_would_draw_a_part_of_is_taken_back(server: Double, start: Open, good: ImageRequest) -> None:
    deployment = start().deployments[0]
    graph = deployment.graph(Planner(settings(good.base)).plan(request(good.base)), AN_ID, "")
    bad = {"90": {"class_type": "VAELoader", "inputs": {"vae_name": "none.safetensors"}}}
    decode = next(node for node in graph.values() if node["class_type"] == "VAEDecode")
    bad["91"] = {"class_type": "VAEDecode", "inputs": decode["inputs"] | {"vae": ["90", 0]}}
    bad["92"] = {"class_type": "PreviewImage", "inputs": {"images": ["91", 0]}}
    server.faults.hold(times=1)
    with pytest.raises(UserError, match="would draw only a part of the graph"):
        deployment.server.send(graph | bad, AN_ID, "me", {})
    server.wait_for(lambda: not server.running() and not server.pending())


def test_an_upload_whose_name_is_taken_is_known_by_the_name_that_was_answered(server: Double, start: Open) -> None:
    asked = start().deployments[0].server
    names = [asked.upload(data, "größe 1.png") for data in (b"one", b"two", b"one")]
    assert names == ["pistachio/größe 1.png", "pistachio/größe 1 (1).png", "pistachio/größe 1.png"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_behind_a_lock_is_not_asked_again_and_again(
    server: Double, start: Open, good: ImageRequest, status: int
) -> None:
    server.faults.answer("GET /system_stats", status, times=99)
    with pytest.raises(UserError, match=f"HTTP {status} from /system_stats: it does not let us in"):
        start().generate([good])


def test_a_server_of_another_version_that_comes_late_is_refused(
    server: Double, start: Open, tiny_base: Path, tmp_path: Path
) -> None:
    with open_server(tmp_path / "other", dialect="newer") as other:
        other.die()
        server.faults.slow(0.2, times=99)
        pictures = start(other).generate([request(tiny_base, seed=seed) for seed in range(20)])
        next(pictures)
        other.revive()
        with pytest.raises(UserError, match="the servers run different versions"):
            list(pictures)


def test_a_silent_server_does_not_keep_the_others_waiting(
    server: Double, start: Open, tiny_base: Path, tmp_path: Path
) -> None:
    with open_server(tmp_path / "other") as other:
        other.die()
        client = start(other)
        posts = client.prepare([client.planner.plan(request(tiny_base))])
        run = Run(posts, [], SentFolder(tmp_path / "state"), 1.0)
        posts[1].ask_again = 0.0
        run._turn()
        run.bell.close()
        assert [post.deployment.server.patience for post in posts] == [ANSWER, BRIEF]
