"""What Prometheus is told: requests, refusals, jobs and the worker.  No key's name and no prompt is among it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from publish.serve.job import State

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """A registry of its own: several servers in one process do not meet."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "pistachio_http_requests", "answered requests", ["method", "path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "pistachio_http_request_seconds", "time to the whole answer", ["method", "path"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._problems = Counter("pistachio_problems", "problems told, by kind", ["kind"], registry=registry)
        self._jobs = Gauge("pistachio_jobs", "jobs by state", ["state"], registry=registry)
        self._pictures = Gauge(
            "pistachio_pictures", "pictures that were drawn, by what became of them", ["verdict"], registry=registry
        )
        self._up = Gauge("pistachio_worker_up", "1: a worker with its models loaded", registry=registry)
        self._since = Gauge(
            "pistachio_worker_seconds", "since the worker began its picture, or to wait", registry=registry
        )

    content_type = CONTENT_TYPE_LATEST

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(method, path).observe(seconds)

    def count_problem(self, kind: str) -> None:
        """Count a problem that was told."""
        self._problems.labels(kind).inc()

    def show(self, jobs: dict[State, int], pictures: tuple[int, int], up: bool, since: float) -> bytes:
        """The page that Prometheus reads."""
        for state, count in jobs.items():
            self._jobs.labels(state.value).set(count)
        for verdict, count in zip(("delivered", "rejected"), pictures, strict=True):
            self._pictures.labels(verdict).set(count)
        self._up.set(up)
        self._since.set(since)
        return generate_latest(self._registry)
