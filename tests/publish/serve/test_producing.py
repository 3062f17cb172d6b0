"""The workspace's own drawer: gate, passport and index, as they are for a batch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from drawing import Drawing
from producing import choose
from serving import draw_everything, make_service, make_settings
from workspaces import write_card, write_params

from publish.serve.drawer import picture_path
from publish.serve.files import read_inside
from publish.serve.job import Asked, Job, State
from publish.serve.params import Params, read_service_params
from publish.serve.producing import ProductionDrawer, open_drawer
from publish.serve.service import Service
from stages.contracts.production import read_record
from stages.runtime.errors import UserError
from stages.runtime.pictures import hash_pixels, read_picture

PROMPT = "{trigger}, a {class_word}, smiling"


@pytest.fixture
def params(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace / "configuration"))
    write_params(workspace, thresholds={"batch": {"realism": 0.0, "adherence": -1.0}})
    choose()
    return read_service_params()


@pytest.fixture
def service(params: Params, tmp_path: Path) -> Iterator[Service]:
    made = make_service(make_settings(tmp_path, draws_per_picture=3))
    yield made
    made.close()


@contextmanager
def drawing(service: Service, params: Params) -> Iterator[ProductionDrawer]:
    with open_drawer(params, service.output, None) as drawer:
        yield drawer


def submit(service: Service, prompt: str = PROMPT, seed: int = 1, count: int = 1) -> Job:
    return service.reader.submit("me", Asked(prompt, None, seed, count), "b", None, 99, 99)[0]


def see(service: Service, job: Job) -> Job:
    found = service.reader.find(job.id, "me")
    assert found is not None
    return found


def published() -> list[str]:
    path = Path("data/published.jsonl")
    return [json.loads(line)["picture"] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_delivered_picture_passed_the_gate_is_signed_and_can_be_traced(service: Service, params: Params) -> None:
    job, nobody = submit(service, count=2), submit(service, "nobody, {trigger}")
    with drawing(service, params) as drawer:
        draw_everything(service, drawer)  # type: ignore[arg-type]
    found, rejected = see(service, job), see(service, nobody)
    assert (found.state, len(found.pictures)) == (State.DONE, 2)
    for draw in found.pictures:
        assert draw.picture is not None
        path = picture_path(service.output, job.id, draw.picture)
        data, record = read_inside(service.output, path, draw.sha256), read_record(path)
        assert data is not None
        assert b"c2pa" in data
        assert b"trainedAlgorithmicMedia" in data
        assert record.approved
        assert record.pixels_sha256 == hash_pixels(read_picture(path))
        assert (record.origin.batch, record.origin.prompt, record.origin.seed) == (job.id, PROMPT, draw.seed)
        assert sum(Path(file).name == path.name for file in published()) == 1
    assert rejected.state is State.INCOMPLETE
    assert all("no face" in draw.reasons[0] for draw in rejected.draws)
    assert not (service.output / nobody.id).exists()


def test_a_worker_that_was_killed_after_any_step_leaves_the_same_job_and_no_second_row(
    service: Service, params: Params
) -> None:
    whole, job = submit(service, count=2), submit(service, count=2)
    with drawing(service, params) as drawer:
        taken = service.reader.take(9)
        assert taken is not None
        drawer.draw(taken, 0, picture_path(service.output, taken.id, 0))  # stamped, and then killed
    with drawing(service, params) as drawer:
        first = service.reader.take(9)
        assert first is not None
        verdict = drawer.draw(first, 0, picture_path(service.output, first.id, 0))
        assert verdict.sha256
        service.reader.put_back(first)
    with drawing(service, params) as drawer:
        draw_everything(service, drawer)  # type: ignore[arg-type]
    one, two = see(service, whole), see(service, job)
    assert [(draw.number, draw.seed, draw.picture, draw.reasons) for draw in one.draws] == [
        (draw.number, draw.seed, draw.picture, draw.reasons) for draw in two.draws
    ]
    assert len(published()) == len(set(published())) == 4


def test_near_duplicates_are_looked_for_in_the_job_alone_after_a_restart_too(service: Service, params: Params) -> None:
    job = submit(service, count=3)
    with drawing(service, params) as drawer:
        taken = service.reader.take(9)
        assert taken is not None
        drawer.draw(submit(service, seed=99), 0, picture_path(service.output, "f" * 32, 0))  # somebody else's
        draw_everything(service, drawer)  # type: ignore[arg-type]
        names = [name for name, _ in drawer._production.accepted if job.id in name]
    found = see(service, job)
    with drawing(service, params) as again:
        again._remember(found)
        assert {name for name, _ in again._production.accepted} == {
            picture_path(service.output, job.id, draw.picture or 0).name for draw in found.pictures
        }
        assert set(names) <= {name for name, _ in again._production.accepted}
    assert list((service.output / ".drawn").iterdir()) == []


def test_a_card_that_is_revoked_while_a_job_runs_stops_it(service: Service, params: Params) -> None:
    job = submit(service, count=3)
    with drawing(service, params) as drawer:
        taken = service.reader.take(9)
        assert taken is not None
        before = Drawing.drawn
        write_card(Path(), "persona", revoked={"date": date(2026, 1, 31), "reason": "asked"})
        draw_everything(service, drawer)  # type: ignore[arg-type]
    found = see(service, job)
    assert (found.state, found.failure, Drawing.drawn) == (State.FAILED, "subject", before)
    assert published() == []


def test_without_a_valid_card_no_worker_begins(service: Service, params: Params) -> None:
    write_card(Path(), "somebody-else")
    with pytest.raises(UserError, match="dataset"), drawing(service, params):
        pass


def test_a_prompt_that_the_policy_refuses_in_the_worker_fails_the_job(service: Service, params: Params) -> None:
    job = submit(service, "{trigger}, a child")
    with drawing(service, params) as drawer:
        draw_everything(service, drawer)  # type: ignore[arg-type]
    assert (see(service, job).state, see(service, job).failure) == (State.FAILED, "policy")
    assert Drawing.drawn == 0
