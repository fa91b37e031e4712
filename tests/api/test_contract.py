"""The service does what its OpenAPI document says, for requests that schemathesis makes of the document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from support.drawn import examples
from support.postgres import TestServer
from support.service import ServiceThread, client_of

EXAMPLES = examples(12)
OPERATIONS = [
    ("post", "/v1/values"), ("post", "/v2/values"), ("post", "/v1/readings"), ("post", "/v1/readings/batch"),
    ("get", "/v1/devices/{device_id}/readings"), ("get", "/v1/accounts/{account_no}/readings"),
    ("post", "/v1/readings/{device_id}/{reading_id}/correction"), ("get", "/v1/window"), ("get", "/v1/progress"), ("get", "/v1/export"),
]  # fmt: skip
CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    negative_data_rejection, unsupported_method,
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
