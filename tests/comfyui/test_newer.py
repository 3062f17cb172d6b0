"""What newer servers do otherwise; read in their source, so these tests hold the double to that reading alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui import asking
from comfyui.asking import ask, build_graph
from comfyui.server import Double, open_double

MINE = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[Double]:
    with open_double(tmp_path / "server", dialect="newer") as opened:
        asking.place_models(opened)
        yield opened


def test_combos_have_the_other_form_and_are_checked_all_the_same(newer: Double) -> None:
    info = ask(newer, "GET", "/object_info/CheckpointLoaderSimple").json["CheckpointLoaderSimple"]
    kind, about = info["input"]["required"]["ckpt_name"]
    assert (kind, about["options"]) == ("COMBO", list(asking.CHECKPOINTS))
    answer = ask(newer, "POST", "/prompt", {"prompt": build_graph(n4={"ckpt_name": "nope"})})
    (error,) = answer.json["node_errors"]["4"]["errors"]
    assert (error["type"], error["extra_info"]["input_config"][0]) == ("value_not_in_list", "COMBO")
    assert asking.run(newer, build_graph())["status"]["completed"]


def test_an_unknown_node_is_a_missing_node_type(newer: Double) -> None:
    graph = build_graph()
    graph["3"] |= {"class_type": "NoSuchNode", "_meta": {"title": "@sampler"}}
    error = ask(newer, "POST", "/prompt", {"prompt": graph}).json["error"]
    assert error["type"] == "missing_node_type"
    assert error["message"] == "Node '@sampler' not found. The custom node may not be installed."
    assert error["extra_info"] == {"node_id": "3", "class_type": "NoSuchNode", "node_title": "@sampler"}
    del graph["3"]["class_type"]
    assert ask(newer, "POST", "/prompt", {"prompt": graph}).json["error"]["type"] == "missing_node_type"


@pytest.mark.parametrize("prompt_id", ["mine", MINE.upper(), MINE.replace("-", ""), 7, ""])
def test_a_prompt_id_that_is_no_lowercase_uuid_is_refused(newer: Double, prompt_id: Any) -> None:
    answer = ask(newer, "POST", "/prompt", {"prompt": build_graph(), "prompt_id": prompt_id})
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_prompt_id")
    assert newer.accepted == []


def test_a_lowercase_uuid_and_none_at_all_are_accepted(newer: Double) -> None:
    assert asking.send(newer, build_graph(), prompt_id=MINE) == MINE
    assert asking.send(newer, build_graph(), prompt_id=None) == newer.accepted[-1]


def test_jobs_have_one_list_whatever_their_state(newer: Double) -> None:
    done = asking.run(newer, build_graph(1))["prompt"][1]
    newer.faults.error("VAEDecode")
    failed = asking.run(newer, build_graph(2))["prompt"][1]
    newer.faults.hold()
    running, pending = (asking.send(newer, build_graph(seed)) for seed in (3, 4))
    newer.wait_for(newer.running)
    jobs = {job["id"]: job["status"] for job in ask(newer, "GET", "/api/jobs").json["jobs"]}
    assert jobs == {done: "completed", failed: "failed", running: "in_progress", pending: "pending"}
    page = ask(newer, "GET", "/api/jobs?status=completed,failed&limit=1").json
    assert page["pagination"] == {"offset": 0, "limit": 1, "total": 2, "has_more": True}
    assert ask(newer, "GET", "/api/jobs?status=nonsense").status == 400
    job = ask(newer, "GET", f"/api/jobs/{done}").json
    assert job["preview_output"]["filename"] == "run_00001_.png"
    assert job["workflow"]["prompt"] == build_graph(1)
    assert ask(newer, "GET", "/api/jobs/nobody").status == 404
    assert ask(newer, "POST", f"/api/jobs/{pending}/cancel").json == {"cancelled": True}
    assert ask(newer, "POST", f"/api/jobs/{done}/cancel").json == {"cancelled": False}
    assert ask(newer, "POST", "/api/jobs/cancel", {"job_ids": [running, done]}).json == {"cancelled": True}
    asking.wait(newer, running)
    assert ask(newer, "GET", f"/api/jobs/{running}").json["status"] == "cancelled"
    assert ask(newer, "GET", f"/api/jobs/{pending}").status == 404


def test_the_recorded_dialect_has_no_jobs_and_takes_any_prompt_id(tmp_path: Path) -> None:
    with open_double(tmp_path / "server") as double:
        asking.place_models(double)
        assert ask(double, "GET", "/api/jobs").status == 404
        assert asking.send(double, build_graph(), prompt_id="mine") == "mine"


def test_a_dialect_must_exist(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), open_double(tmp_path, dialect="older"):
        pass
