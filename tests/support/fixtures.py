"""Fixtures of the service's tests.

- `postgres`: the session's server; `postgres.migrated()` makes a fresh database and returns its DSN.
- `database`: a fresh, migrated database of the test's own.
- `service`: the service without API keys, shared by a module's tests: use devices of your own (`uuid4()`).
- `start_service(**settings)`: another one, with other settings; `start_process(*arguments, **settings)`: the real program.
- `client`: an HTTP client of `service`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from support.postgres import TestServer
from support.service import ServiceProcess, ServiceThread, client_of

StartService = Callable[..., ServiceThread]
StartProcess = Callable[..., ServiceProcess]


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestServer]:
    server = TestServer()
    yield server
    server.close()


@pytest.fixture
def database(postgres: TestServer) -> str:
    return postgres.migrated()


@pytest.fixture(scope="module")
def service(postgres: TestServer) -> Iterator[ServiceThread]:
    with ServiceThread(postgres.migrated()) as running:
        yield running


@pytest.fixture
def client(service: ServiceThread) -> Iterator[httpx.Client]:
    with client_of(service) as opened:
        yield opened


@pytest.fixture
def start_service(postgres: TestServer) -> Iterator[StartService]:
    with ExitStack() as running:

        def start(dsn: str | None = None, **settings: Any) -> ServiceThread:
            return running.enter_context(ServiceThread(dsn or postgres.migrated(), **settings))

        yield start


@pytest.fixture
def start_process(postgres: TestServer) -> Iterator[StartProcess]:
    with ExitStack() as running:

        def start(*arguments: str, database_url: str | None = None, **settings: Any) -> ServiceProcess:
            dsn = database_url or postgres.migrated()
            return running.enter_context(ServiceProcess(*arguments, database_url=dsn, **settings))

        yield start
