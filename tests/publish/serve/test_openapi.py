"""The description in OpenAPI is true: schemathesis sends what it allows and what it forbids, and nothing breaks."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import Gates, add_client_key, draw_everything, make_service, make_settings

from publish.serve.app import build_app
from publish.serve.problems import KINDS
from publish.serve.service import Service

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 25  # of each endpoint


class Served:
    service: Service
    key: dict[str, str]
    schema: dict[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served()
    config = make_settings(tmp_path_factory.mktemp("openapi"))
    made.key = add_client_key(config)
    made.service = make_service(config, Gates())
    made.service.reader.beat(1, ready=True)  # a worker, that it may be ready: without one it says 503
    yield made
    made.service.close()


@pytest.fixture(scope="module")
def api(served: Served) -> Any:
    app = build_app(served.service)
    served.schema = app.openapi()
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_no_request_breaks_the_server_and_every_answer_is_as_described(
    api: Any, served: Served, mode: schemathesis.GenerationMode
) -> None:
    sent: Counter[str] = Counter()
    for found in api.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            answer = case.call(headers=served.key)
            sent[f"{case.method} {case.path} {answer.status_code}"] += 1
            case.validate_response(answer, checks=CHECKS)

        if mode is schemathesis.GenerationMode.POSITIVE or operation.method in ("post",) or operation.path_parameters:
            send()
    assert not [line for line in sent if line.endswith((" 500", " 502", " 504"))]
    assert sum(sent.values()) > 3 * EXAMPLES, sent
    if mode is schemathesis.GenerationMode.POSITIVE:
        assert sent["POST /v1/jobs 202"] > 5, sent


def test_every_problem_is_documented_with_an_example_that_is_one(api: Any, served: Served) -> None:
    text = json.dumps(served.schema)
    found = {name for name in KINDS if f'"urn:pistachio:problem:{name}"' in text}
    assert found == set(KINDS) - {"method-not-allowed"}  # which belongs to no operation
    rules = jsonschema_rs.validator_for(served.schema["components"]["schemas"]["ProblemDetails"])
    for operations in served.schema["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                told = answer.get("content", {}).get("application/problem+json", {})
                for example in told.get("examples", {}).values():
                    rules.validate(example["value"])
                    assert example["value"]["status"] == int(status)


def test_the_example_of_a_job_is_one_and_can_be_drawn(api: Any, served: Served) -> None:
    from fastapi.testclient import TestClient

    example = served.schema["components"]["schemas"]["NewJob"]["examples"][0]
    client = TestClient(build_app(served.service), headers=served.key)
    job = client.post("/v1/jobs", json=example)
    assert job.status_code == 202
    draw_everything(served.service)
    assert client.get(job.headers["Location"]).json()["state"] == "done"


def test_limits_of_this_server_stand_in_its_description(tmp_path: Path) -> None:
    service = make_service(make_settings(tmp_path, count_max=3, prompt_chars=50))
    fields = build_app(service).openapi()["components"]["schemas"]["NewJob"]["properties"]
    service.close()
    assert (fields["count"]["maximum"], fields["prompt"]["maxLength"]) == (3, 50)
