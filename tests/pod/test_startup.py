"""From a bare machine to READY, twice, and killed on the way."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pods import MODELS, FakePod, open_pod

pytestmark = pytest.mark.slow
KILLS = 12


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FakePod, dict[str, str], float]]:
    """A pod that was brought to READY undisturbed: itself, its state, how long it took."""
    with open_pod(tmp_path_factory.mktemp("startup")) as pod:
        began = time.monotonic()
        code, said = pod.run("startup")
        took = time.monotonic() - began
        assert code == 0, said
        assert said.splitlines()[-1] == f"READY: {pod.url}"
        yield pod, pod.state(), took


def test_a_second_run_changes_nothing_and_is_quick(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, state, _ = ready
    times = []
    for _ in range(3):  # this machine may be busy with other things
        began = time.monotonic()
        code, said = pod.run("startup")
        times.append(time.monotonic() - began)
    assert min(times) < 5
    assert (code, said.splitlines()[-2:]) == (0, ["0 changed", f"READY: {pod.url}"])
    assert pod.state() == state


def test_everything_is_as_it_was_pinned(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, state, _ = ready
    for path, body in MODELS.items():
        assert (pod.comfyui / "models" / path).read_bytes() == body
    assert state["ComfyUI/custom_nodes/InstantID/.git/HEAD"].strip() == pod.commits["InstantID"]
    assert not (pod.comfyui / "custom_nodes/InstantID/later.py").exists()
    [site] = (pod.folder / "venv-comfyui").glob("lib/python*/site-packages")
    packages = {path.name for path in site.glob("*.dist-info")}
    assert {"comfyui_frontend_package-1.27.10.dist-info", "onnxruntime_gpu-1.31.1.dist-info"} <= packages
    assert "onnxruntime-1.31.1.dist-info" not in packages
    assert next(path.name for path in (pod.comfyui / "models/loras").iterdir()).startswith("v3-")


def test_a_step_says_why_it_runs(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, state, _ = ready
    model = pod.comfyui / "models/instantid/ip-adapter.bin"
    model.write_bytes(model.read_bytes()[:1000])
    (pod.work / "constraints.txt").write_text((pod.work / "constraints.txt").read_text() + "# a remark\n")
    code, said = pod.run("startup")
    assert code == 0, said
    assert "RAN     instantid/ip-adapter.bin: had 1000 bytes instead of 140000" in said
    assert "RAN     packages of pistachio: the pins have changed" in said
    assert "RAN     server: was started before its packages changed" in said
    pod.reset()
    assert pod.run("startup")[0] == 0
    assert pod.state() == state


def test_changes_by_hand_are_reported_and_kept(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, state, _ = ready
    changed = pod.comfyui / "custom_nodes/IPAdapter/part1.py"
    before = changed.read_text()
    changed.write_text("mine\n")
    code, said = pod.run("startup")
    assert code == 0
    assert "changed by hand and left so: part1.py" in said
    assert changed.read_text() == "mine\n"
    changed.write_text(before)
    assert pod.state() == state


def test_health_names_what_is_wrong_and_startup_mends_it(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, _, _ = ready
    code, said = pod.run("health", "--json")
    rows = {row["what"]: row for row in json.loads(said)["rows"]}
    assert code == 0
    assert rows["API"]["detail"].startswith("ComfyUI 0.3.64")
    [deployed] = (pod.comfyui / "models/loras").iterdir()
    deployed.rename(deployed.with_name("v3-000000000000.safetensors"))
    (pod.comfyui / "models" / next(iter(MODELS))).unlink()
    pod.stop()
    code, said = pod.run("health")
    assert code == 1
    assert "FAIL    LoRA: ComfyUI has v3-000000000000.safetensors, which is another v3" in said
    assert f"{next(iter(MODELS))} is not there" in said
    assert "FAIL    API" in said
    (deployed.with_name("v3-000000000000.safetensors")).unlink()
    code, said = pod.run("startup")
    assert code == 0, said
    assert pod.run("health", "--wait", "20")[0] == 0


def test_killed_at_random_points_it_reaches_the_same_state(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, state, took = ready
    lots = random.Random(6)
    make_bare(pod)
    kills = 0
    while kills < KILLS:
        if pod.kill_after(lots.uniform(0.1, min(took / 2, 10.0))):
            kills += 1
        else:
            make_bare(pod)  # it was done too soon to be killed
    code, said = pod.run("startup")
    assert code == 0, said
    found = pod.state()
    assert {path for path in {*found, *state} if found.get(path) != state.get(path)} == set()
    code, said = pod.run("startup")
    assert said.splitlines()[-2:] == ["0 changed", f"READY: {pod.url}"]


def make_bare(pod: FakePod) -> None:
    pod.stop()
    shutil.rmtree(pod.folder)
    pod.reset()


def test_under_supervision_a_server_that_is_killed_comes_back(ready: tuple[FakePod, dict[str, str], float]) -> None:
    pod, _, _ = ready
    pod.stop()
    (pod.work / "pod.toml").write_text(pod.settings(supervise=True) + "[watch]\npoll_s = 0.2\nbackoff_s = 0.2\n")
    code, said = pod.run("startup")
    assert code == 0, said
    first = pod.server
    assert first is not None
    os.kill(int(str(first["pid"])), signal.SIGKILL)
    assert pod.run("health", "--wait", "30")[0] == 0
    assert pod.server not in (None, first)
    assert pod.run("startup")[1].splitlines()[-2:] == ["0 changed", f"READY: {pod.url}"]
    pod.stop()
    pod.reset()


def test_another_startup_at_the_same_time_is_refused_in_one_line(ready: tuple[FakePod, dict[str, str], float]) -> None:
    from pod.files import locked

    pod, _, _ = ready
    with locked(pod.work / "logs/pod/startup.lock", "startup"):
        code, said = pod.run("startup")
    assert code == 2
    assert "another process is at startup" in said
    assert len(said.splitlines()) == 1


def test_a_bad_setting_is_one_line(ready: tuple[FakePod, dict[str, str], float], tmp_path: Path) -> None:
    pod, _, _ = ready
    (pod.work / "pod.toml").write_text(pod.settings(discs_gb=1.0))
    code, said = pod.run("startup")
    pod.reset()
    assert code == 2
    assert "pod.toml: startup.discs_gb: no such key; known: disk_gb" in said
