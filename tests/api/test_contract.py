"""The service does what its OpenAPI document says, for requests that schemathesis makes of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from support.drawn import examples
from support.fixtures import StartService
from support.keys import make_key
from support.postgres import TestServer
from support.raw import RawAnswer, exchange, request
from support.samples import reading
from support.service import ServiceThread, client_of

EXAMPLES = examples(12)
OPERATIONS = [
    ("post", "/v1/values"), ("post", "/v2/values"), ("post", "/v1/readings"), ("post", "/v1/readings/batch"),
    ("get", "/v1/devices/{device_id}/readings"), ("get", "/v1/accounts/{account_no}/readings"),
    ("post", "/v1/readings/{device_id}/{reading_id}/correction"), ("get", "/v1/window"), ("get", "/v1/progress"), ("get", "/v1/export"),
    ("get", "/v1/keys"), ("post", "/v1/keys"), ("delete", "/v1/keys/{key_id}"),
]  # fmt: skip
OF_HTTP = {"date", "content-type", "content-length", "connection", "transfer-encoding", "allow"}
"""Headers that need no words: HTTP itself says what they mean."""


def no_header_is_undocumented(_context: Any, response: Any, case: Any) -> None:
    described = case.operation.definition.raw["responses"].get(str(response.status_code))
    if described is not None:  # the check of the status says so otherwise
        assert set(response.headers) - OF_HTTP <= {name.lower() for name in described["headers"]}


CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, no_header_is_undocumented, negative_data_rejection, unsupported_method,
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(postgres: TestServer) -> Iterator[ServiceThread]:
    with ServiceThread(postgres.migrated()) as running:
        yield running


@pytest.mark.fuzz
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_answers_are_what_the_document_says(fuzzed: ServiceThread, method: str, path: str) -> None:
    host, port = fuzzed.address
    with client_of(fuzzed) as client:
        document = client.get("/openapi.json").json()
    del document["security"]  # this service asks for no key; keys have tests of their own
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://{host}:{port}")
    operation = schema[path][method]
    # A batch with bad items is answered 200, with a refusal for each of them.
    checks = [check for check in CHECKS if not (path.endswith("/batch") and check is negative_data_rejection)]

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(checks=checks)

        check()


def test_every_operation_of_the_document_is_tried(fuzzed: ServiceThread) -> None:
    with client_of(fuzzed) as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == set(OPERATIONS)


def answers(service: ServiceThread, client: httpx.Client) -> Iterator[tuple[str, str, httpx.Response | RawAnswer]]:
    """Answers that the fuzzer doesn't get: the second of two, those of a limit, those of the connection."""
    reader = make_key(service.dsn, "read")
    key = make_key(service.dsn, "ingest", "read")
    body = reading(reading_id=str(uuid4()), source="person")
    device = body["device_id"]
    correction = f"/v1/readings/{device}/{body['reading_id']}/correction"
    correct = {"value": "10500", "reading_id": str(uuid4())}
    once = [
        ("/v1/readings", body), ("/v1/readings", {**body, "value": 7}), ("/v1/readings", reading(device, 1, source="person")),
        (correction, correct), (correction, correct), (correction, {"value": "10501"}),
    ]  # fmt: skip
    for path, sent in [once[0], *once]:
        template = "/v1/readings" if path == "/v1/readings" else "/v1/readings/{device_id}/{reading_id}/correction"
        yield "post", template, client.post(path, json=sent, headers=key)
    yield "post", "/v1/readings", client.post("/v1/readings", json=body)
    yield "post", "/v1/readings", client.post("/v1/readings", json=body, headers=reader)
    yield "post", "/v1/readings", client.post("/v1/readings", content=b"x" * 20_000, headers=key)
    yield "post", "/v1/readings", client.post("/v1/readings", content=b"{}", headers=key | {"Content-Type": "text/csv"})
    token = f"Authorization: {key['Authorization']}"
    yield "post", "/v1/readings", exchange(service, request("POST", "/v1/readings", b"{}", token)[:-1])
    yield "post", "/v1/readings", exchange(service, request("POST", "/v1/readings", b"", "X-A: " + "a" * 20_000))
    yield "post", "/v1/readings", exchange(service, b"junk\r\n\r\n")
    yield "post", "/v1/readings/batch", client.post("/v1/readings/batch?atomic=true", json=[{}], headers=key)
    yield "get", "/v1/devices/{device_id}/readings", client.get(f"/v1/devices/{device}/readings?cursor=x", headers=key)
    while (answer := client.post("/v1/readings", json=body, headers=key)).status_code != 429:
        pass
    yield "post", "/v1/readings", answer


def test_every_kind_of_answer_is_in_the_document(start_service: StartService) -> None:
    service = start_service(auth="keys", rate_per_s=1, rate_burst=30, body_timeout_s=0.3)
    statuses = set()
    with client_of(service) as client:
        document = client.get("/openapi.json").json()
        for method, template, answer in answers(service, client):
            status = answer.status if isinstance(answer, RawAnswer) else answer.status_code
            described = document["paths"][template][method]["responses"].get(str(status))
            assert described is not None, (template, status)
            headers = {name.lower() for name in answer.headers} - OF_HTTP
            assert headers == {name.lower() for name in described["headers"]}, (template, status)
            if status >= 400:
                assert f"`{answer.json()['code']}`" in described["description"]
            statuses.add(status)
    assert statuses == {200, 201, 400, 401, 403, 408, 409, 413, 415, 422, 429, 431}


def test_the_documentation_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/", follow_redirects=True)
    assert page.url.path == "/docs"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) == 4
    for address in linked:
        assert address.startswith("/docs/"), address
        client.get(address).raise_for_status()
