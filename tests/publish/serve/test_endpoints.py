"""The HTTP API, asked as a client asks it, by good and by bad ones."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serving import PROMPT, Gates, add_client_key, draw_everything, make_service, make_settings

from publish.serve.app import build_app
from publish.serve.drawer import picture_path
from publish.serve.keys import revoke_key
from publish.serve.service import Service

JSON = {"Content-Type": "application/json"}


class World:
    """A service, a client with a key, and a way to draw."""

    job: dict[str, Any]

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.gates = Gates()
        self.settings = make_settings(folder, **changes)
        self.key = add_client_key(self.settings)
        self.service: Service = make_service(self.settings, self.gates)
        self.http = TestClient(build_app(self.service), headers=self.key, raise_server_exceptions=False)

    def submit(self, idempotency: str | None = None, **body: Any) -> Any:
        headers = {"Idempotency-Key": idempotency} if idempotency else {}
        return self.http.post("/v1/jobs", json=PROMPT | body, headers=headers)

    def done(self, **body: Any) -> dict[str, Any]:
        job = self.submit(**body).json()["id"]
        draw_everything(self.service)
        shown: dict[str, Any] = self.http.get(f"/v1/jobs/{job}").json()
        return shown


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.service.close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with one job that is done, for those who change nothing."""
    made = World(tmp_path_factory.mktemp("busy"))
    made.job = made.done()
    yield made
    made.service.close()


def problem(answer: Any) -> tuple[int, str]:
    """Status and kind of a problem; anything else fails."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["detail"]
    return answer.status_code, body["type"].removeprefix("urn:pistachio:problem:")


def test_a_picture_is_asked_for_drawn_and_fetched(world: World) -> None:
    submitted = world.submit(seed=3, count=2)
    assert submitted.status_code == 202
    assert submitted.json()["state"] == "queued"
    draw_everything(world.service)
    shown = world.http.get(submitted.headers["Location"]).json()
    assert (shown["state"], shown["drawn"], shown["rejected"]) == ("done", 3, ["seed 3: no face was found"])
    for number, seed in enumerate((4, 5)):
        fetched = world.http.get(shown["pictures"][number]["href"])
        assert fetched.headers["content-type"] == "image/png"
        assert fetched.json()["seed"] == seed
        assert fetched.headers["ETag"] == f'"{shown["pictures"][number]["sha256"]}"'


def test_a_picture_that_the_client_has_is_not_sent_again(world: World) -> None:
    picture = world.done()["pictures"][0]
    for tag in (f'"{picture["sha256"]}"', f'"x", W/"{picture["sha256"]}"', "*"):
        answer = world.http.get(picture["href"], headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content) == (304, b"")
    assert world.http.get(picture["href"], headers={"If-None-Match": '"other"'}).status_code == 200


def test_an_idempotency_key_is_one_job(world: World) -> None:
    first, again = world.submit("k", seed=1), world.submit("k", seed=1)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["id"] == again.json()["id"]
    assert problem(world.submit("k", seed=2)) == (422, "key-reused")
    assert len(world.http.get("/v1/jobs").json()["jobs"]) == 1


def test_a_body_without_a_seed_is_the_same_body_again(world: World) -> None:
    assert world.submit("k").json()["seed"] == world.submit("k").json()["seed"]
    assert world.submit().json()["seed"] != world.submit().json()["seed"]


def test_pages_hold_every_job_once(world: World) -> None:
    jobs = [world.submit().json()["id"] for _ in range(5)]
    found, before = [], ""
    while before is not None:
        page = world.http.get(f"/v1/jobs?limit=2{before}").json()
        found += [job["id"] for job in page["jobs"]]
        before = page["next"] and f"&before={page['next']}"
    assert found == jobs[::-1]


def test_a_waiting_job_is_cancelled_and_a_done_one_is_not(world: World) -> None:
    job = world.submit().json()["id"]
    assert [world.http.delete(f"/v1/jobs/{job}").json()["state"] for _ in range(2)] == ["cancelled"] * 2
    assert problem(world.http.delete(f"/v1/jobs/{world.done()['id']}")) == (409, "job-ended")


def test_what_belongs_to_another_key_is_not_there(world: World) -> None:
    job, theirs = world.done(), add_client_key(world.settings, "other")
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("GET", "/images/0"),
    ):  # fmt: skip
        answer = world.http.request(method, f"/v1/jobs/{job['id']}{path}", headers=theirs)
        assert problem(answer) == (404, "not-found")
    assert world.http.get("/v1/jobs", headers=theirs).json()["jobs"] == []
    assert problem(world.http.get(f"/v1/jobs?before={job['id']}", headers=theirs)) == (404, "not-found")


WRONG_KEYS = ["", "Bearer", "Bearer ", "Bearer pst_wrong", "Basic YTpi", "pst_", "Bearer \xff", "Bearer a b"]


@pytest.mark.parametrize("header", WRONG_KEYS)
def test_wrong_keys_open_nothing(busy: World, header: str) -> None:
    job = busy.job
    for method, path in (
        ("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", f"/v1/jobs/{job['id']}"),
        ("DELETE", f"/v1/jobs/{job['id']}"), ("GET", f"/v1/jobs/{job['id']}/images/0"),
    ):  # fmt: skip
        sent = {"Authorization": header.encode("latin-1")}
        answer = busy.http.request(method, path, headers=sent, json=PROMPT if method == "POST" else None)  # type: ignore[arg-type]
        assert problem(answer) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_opens_nothing_from_then_on(world: World) -> None:
    assert world.http.get("/v1/jobs").status_code == 200
    assert world.settings.keys is not None
    revoke_key(world.settings.keys, "chatbot")
    assert problem(world.http.get("/v1/jobs")) == (401, "unauthorized")


BAD_IDS = [
    "..", "../../jobs.sqlite", "..%2f..%2fjobs.sqlite", "%2e%2e%2fetc%2fpasswd", "....//etc", "0" * 31, "0" * 32,
    "0" * 10_000, "A" * 32, "%00", "'; DROP TABLE jobs; --", "\u202e", "%ff%fe", ".drawn", "jobs.sqlite",
    "0" * 32 + "%0a",
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("end", ["", "/images/0"])
def test_ids_that_are_none_lead_nowhere(busy: World, bad: str, end: str) -> None:
    answer = busy.http.get(f"/v1/jobs/{bad}{end}")
    assert problem(answer)[0] == 404
    assert b"SQLite" not in answer.content


@pytest.mark.parametrize("bad", ["-1", "1", "99", "0x0", "1e9", "../0", "..%2f000.png", "000.png", "9" * 400, "%00"])
def test_pictures_that_are_none_lead_nowhere(busy: World, bad: str) -> None:
    assert problem(busy.http.get(f"/v1/jobs/{busy.job['id']}/images/{bad}")) == (404, "not-found")


@pytest.mark.parametrize("how", ["link to a file", "link to the folder", "other bytes", "removed", "a pipe"])
def test_a_picture_that_was_exchanged_is_not_delivered(world: World, tmp_path: Path, how: str) -> None:
    job = world.done()
    path = picture_path(world.settings.output, job["id"], 0)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / path.name).write_bytes(path.read_bytes())  # the right bytes at another place
    match how:
        case "link to a file":
            path.unlink()
            path.symlink_to(secret / path.name)
        case "link to the folder":
            path.unlink()
            path.parent.rmdir()
            path.parent.symlink_to(secret)
        case "other bytes":
            path.write_bytes(b"not what was gated")
        case "removed":
            path.unlink()
        case "a pipe":
            path.unlink()
            os.mkfifo(path)
    assert problem(world.http.get(job["pictures"][0]["href"])) == (410, "gone")


def test_a_revoked_card_stops_orders_and_deliveries(world: World) -> None:
    job = world.done()
    world.gates.revoked = True
    assert problem(world.submit()) == (403, "subject")
    assert problem(world.http.get(job["pictures"][0]["href"])) == (403, "subject")
    assert problem(world.http.get("/readyz")) == (403, "subject")
    assert world.http.get(f"/v1/jobs/{job['id']}").status_code == 200


def test_a_prompt_that_the_policy_refuses_is_refused_with_the_rule(world: World) -> None:
    answer = world.submit(prompt="a child")
    assert problem(answer) == (422, "policy")
    assert answer.json()["rule"] == "minors"
    assert world.http.get("/v1/jobs").json()["jobs"] == []


BAD_BODIES: list[bytes] = [
    b"", b"null", b"[]", b"7", b'"x"', b"{}", b"{", b"\xff\xfe", b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}',
    b'{"prompt": ""}', b'{"prompt": "  "}', b'{"prompt": "a\\u0000b"}', b'{"prompt": 7}', b'{"prompt": ["a"]}',
    b'{"prompt": "a", "count": 0}', b'{"prompt": "a", "count": 9}', b'{"prompt": "a", "count": "1"}',
    b'{"prompt": "a", "count": true}', b'{"prompt": "a", "count": 1.5}', b'{"prompt": "a", "seed": -1}',
    b'{"prompt": "a", "seed": 9007199254740992}', b'{"prompt": "a", "seed": NaN}', b'{"prompt": "a", "seed": 1e999}',
    b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", b'{"prompt": "a", "lora": "../../other.safetensors"}',
    b'{"prompt": "a", "negative_prompt": ""}x', b"[" * 10_000, b'{"a":' * 2000, b'{"prompt": "' + b"a" * 1001 + b'"}',
    b'{"prompt": "a", "output": "/etc/passwd"}',
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: body[:40].decode("latin-1"))
def test_bad_bodies_are_refused(busy: World, body: bytes) -> None:
    answer = busy.http.post("/v1/jobs", content=body, headers=JSON)
    assert problem(answer) in ((400, "bad-request"), (422, "invalid"))
    assert busy.http.get("/v1/jobs").json()["jobs"] == [busy.job]


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, b"\xff", b"a\x01"])
def test_bad_idempotency_keys_are_refused(busy: World, key: str | bytes) -> None:
    answer = busy.http.post("/v1/jobs", json=PROMPT, headers={"Idempotency-Key": key})  # type: ignore[dict-item]
    assert problem(answer) == (422, "invalid")


@pytest.mark.parametrize("query", ["limit=0", "limit=51", "limit=x", "before=x", "before=%ff", "limit=" + "9" * 5000])
def test_bad_pages_are_refused(busy: World, query: str) -> None:
    assert problem(busy.http.get(f"/v1/jobs?{query}")) == (422, "invalid")


@pytest.mark.parametrize("path", ["/v1/jobs", "/healthz", "/nowhere"])
def test_huge_bodies_are_refused_whether_they_say_their_length_or_not(busy: World, path: str) -> None:
    assert problem(busy.http.post(path, content=b"x" * 16_385)) == (413, "too-large")
    assert problem(busy.http.post(path, content=(b"x" * 1000 for _ in range(100)))) == (413, "too-large")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/jobs"), ("POST", "/healthz"), ("TRACE", "/v1/jobs")])
def test_other_methods_are_refused(busy: World, method: str, path: str) -> None:
    assert problem(busy.http.request(method, path)) == (405, "method-not-allowed")


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/v1", "/v1/jobs/", "/static/x", "//etc/passwd"])
def test_nothing_else_is_there(busy: World, path: str) -> None:
    assert busy.http.get(path, follow_redirects=False).status_code in (307, 404)


def test_a_key_that_asks_too_often_is_told_when_to_ask_again(tmp_path: Path) -> None:
    world = World(tmp_path, requests_burst=2, requests_per_minute=1)
    answers = [world.http.get("/v1/jobs") for _ in range(3)]
    assert problem(answers[2]) == (429, "too-many-requests")
    assert 0 < int(answers[2].headers["Retry-After"]) <= 60
    assert world.http.get("/v1/jobs", headers=add_client_key(world.settings, "other")).status_code == 200
    world.service.close()


def test_a_key_that_asks_for_too_many_pictures_is_told_so_and_refusals_cost_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, pictures_burst=8, pictures_per_minute=1, queue_per_key=1)
    assert world.submit("k", count=4).status_code == 202
    assert world.submit("k", count=4).status_code == 200
    assert problem(world.submit(count=4)) == (503, "queue-full")
    draw_everything(world.service)
    assert world.submit(count=4).status_code == 202
    assert problem(world.submit(count=1)) == (429, "too-many-pictures")
    world.service.close()


def test_the_queue_is_bounded_and_told_when_to_try_again(tmp_path: Path) -> None:
    world = World(tmp_path, queue=2)
    answers = [world.submit() for _ in range(3)]
    assert problem(answers[2]) == (503, "queue-full")
    assert int(answers[2].headers["Retry-After"]) > 0
    assert world.http.get(answers[0].headers["Location"]).status_code == 200
    world.service.close()


def test_it_is_ready_only_with_a_worker(world: World) -> None:
    assert world.http.get("/healthz").json() == {"status": "ok"}
    assert problem(world.http.get("/readyz")) == (503, "not-ready")
    world.done()
    assert world.http.get("/readyz").json() == {"status": "ready"}
    world.service.worker_lives = lambda: False
    assert problem(world.http.get("/readyz")) == (503, "not-ready")


def test_prometheus_is_told_everything_but_who_and_what(world: World) -> None:
    world.done(seed=3, prompt="a woman in a secret place")
    world.submit(prompt="a child")
    text = world.http.get("/metrics").text
    for line in (
        'pistachio_jobs{state="done"} 1.0', 'pistachio_pictures{verdict="rejected"} 1.0',
        'pistachio_problems_total{kind="policy"} 1.0', "pistachio_worker_up 1.0",
        'pistachio_http_requests_total{method="POST",path="/v1/jobs",status="202"} 1.0',
    ):  # fmt: skip
        assert line in text
    assert "secret" not in text
    assert "chatbot" not in text


def test_labels_do_not_grow_with_what_clients_send(world: World) -> None:
    lines = []
    for again in range(2):
        for number in range(5):
            world.http.get(f"/nowhere/{again}{number}")
            world.http.request(f"M{again}{number}", "/v1/jobs")
            world.http.get(f"/v1/jobs/{again}{number}")
        lines.append(len(world.http.get("/metrics").text.splitlines()))
    lines.append(len(world.http.get("/metrics").text.splitlines()))
    assert lines[1] == lines[2]


def test_every_answer_forbids_guessing_and_caching(world: World) -> None:
    job = world.done()
    for path in ("/v1/jobs", "/nowhere", job["pictures"][0]["href"], "/healthz"):
        headers = world.http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] in ("no-store", "private, no-cache")


def test_a_bug_is_a_problem_without_its_traceback(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.service.reader, "page", lambda *_: 1 / 0)
    answer = world.http.get("/v1/jobs")
    assert problem(answer) == (500, "internal")
    assert "ZeroDivision" not in answer.text
