"""The worker: what it draws, when it stops, and what it leaves to the next one."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Sketch, draw_everything, make_service, make_settings

from publish.serve.drawer import Verdict
from publish.serve.job import Asked, Job, State
from publish.serve.service import Service
from publish.serve.store import Store
from publish.serve.worker import work
from stages.contracts.policy import Refused
from stages.runtime.errors import UserError


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = make_service(make_settings(tmp_path, draws_per_picture=2))
    yield made
    made.close()


def submit(service: Service, seed: int = 1, count: int = 1, prompt: str = "a woman") -> Job:
    return service.reader.submit("me", Asked(prompt, None, seed, count), "b", None, 99, 99)[0]


def see(service: Service, job: Job) -> Job:
    found = service.reader.find(job.id, "me")
    assert found is not None
    return found


def test_a_rejected_picture_is_not_kept_and_another_seed_is_drawn(service: Service) -> None:
    job = submit(service, seed=3, count=2)
    draw_everything(service)
    found = see(service, job)
    assert found.state is State.DONE
    assert [(draw.seed, draw.picture, draw.reasons) for draw in found.draws] == [
        (3, None, ("no face was found",)), (4, 0, ()), (5, 1, ()),
    ]  # fmt: skip
    assert sorted(path.name[-7:] for path in (service.output / job.id).iterdir()) == ["000.png", "001.png"]


def test_a_job_whose_pictures_are_rejected_up_to_the_limit_says_so(service: Service) -> None:
    job = submit(service)
    draw_everything(service, Rejecting(service.output))
    found = see(service, job)
    assert (found.state, len(found.draws)) == (State.INCOMPLETE, 2)
    assert "1 of 1 pictures are missing: 2 were drawn" in found.detail


class Rejecting(Sketch):
    def draw(self, job: Job, number: int, path: Path) -> Verdict:
        return Verdict("", ("blurred",))


class Raising(Sketch):
    error: Exception = UserError("models/lora/x.safetensors", "not found")

    def draw(self, job: Job, number: int, path: Path) -> Verdict:
        raise self.error


@pytest.mark.parametrize(
    ("error", "failure", "told"),
    [
        (Refused("minors", "it names a minor"), "policy", "minors"),
        (UserError("models/lora/x.safetensors", "not found"), "settings", "log"),
    ],
)
def test_a_job_that_cannot_be_drawn_fails_and_tells_nothing_of_the_machine(
    service: Service, error: Exception, failure: str, told: str
) -> None:
    job = submit(service)
    drawer = Raising(service.output)
    drawer.error = error
    draw_everything(service, drawer)
    found = see(service, job)
    assert (found.state, found.failure) == (State.FAILED, failure)
    assert told in found.detail
    assert "models" not in found.detail


def test_a_revoked_card_ends_the_running_job_and_those_that_wait(service: Service) -> None:
    jobs = [submit(service, count=3), submit(service)]

    class Revoking(Sketch):
        def draw(self, job: Job, number: int, path: Path) -> Verdict:
            if number == 1:
                (self.folder / "revoked").touch()
            return super().draw(job, number, path)

    draw_everything(service, Revoking(service.output))
    assert [(see(service, job).state, see(service, job).failure) for job in jobs] == [(State.FAILED, "subject")] * 2
    assert len(see(service, jobs[0]).pictures) == 1


def test_a_job_that_is_cancelled_midway_is_drawn_no_further(service: Service) -> None:
    job = submit(service, count=4)

    class Cancelling(Sketch):
        def draw(self, job: Job, number: int, path: Path) -> Verdict:
            if number == 1:
                service.reader.cancel(job.id, "me")
            return super().draw(job, number, path)

    drawer = draw_everything(service, Cancelling(service.output))
    assert see(service, job).state is State.CANCELLED
    assert len(drawer.drawn) == 2


def test_a_worker_that_is_asked_to_end_leaves_the_rest_to_the_next_one(service: Service) -> None:
    job, stop = submit(service, count=4), threading.Event()

    class Ending(Sketch):
        def draw(self, job: Job, number: int, path: Path) -> Verdict:
            stop.set()
            return super().draw(job, number, path)

    first = Ending(service.output)
    store = Store(service.output)
    work(store, first, service.output, service.settings, stop)
    store.close()
    second = draw_everything(service)
    assert (first.drawn[0][1], see(service, job).state) == (0, State.DONE)
    assert [number for _, number in first.drawn + second.drawn] == list(range(len(see(service, job).draws)))


def test_the_same_seed_is_the_same_pictures(service: Service) -> None:
    jobs = [submit(service, seed=3, count=3) for _ in range(2)]
    draw_everything(service)
    one, two = (see(service, job) for job in jobs)
    assert one.draws == two.draws
