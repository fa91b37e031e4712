"""Whole runs with the real k6: against our own service, against TLS, and with something dying in the middle."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import asyncpg
import psutil
import pytest
import trustme

from loadtest import report, runner, service
from loadtest.evidence import Evidence
from loadtest.runner import Target

SHORT = {"LOAD_RATE": "20", "LOAD_DURATION_S": "2", "LOAD_P99_MS": "5000", "LOAD_VUS_MAX": "100"}


class Accepting(BaseHTTPRequestHandler):
    """Answers 201 to everything, stores nothing, and remembers what it was sent."""

    protocol_version = "HTTP/1.1"
    authorizations: ClassVar[list[str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.authorizations.append(self.headers.get("Authorization", ""))
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Silent: k6's own output is enough."""


@contextmanager
def accepting(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    class Handler(Accepting):
        authorizations: ClassVar[list[str]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}", Handler.authorizations
        server.shutdown()
        thread.join()


def wait_for(what: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Instance]:
    with service.instance(2, "group", tmp_path_factory.mktemp("service")) as started:
        yield started


def test_our_own_service_passes_and_a_row_that_is_taken_away_is_missed(own: service.Instance, tmp_path: Path) -> None:
    runner.run("peak", Target(own.base_urls, "Peak", own.database_url), tmp_path, SHORT)
    run = Evidence(tmp_path)
    assert (run.judgement[0], run.verdict["lost"], run.verdict["duplicated"]) == ("passed", 0, 0), run.judgement
    assert run.verdict["acknowledged"] == run.verdict["stored"] >= 40

    asyncio.run(_take_one_away(own.database_url, run.about["run"]))
    assert runner.count(tmp_path, run.about["run"], own.database_url)["lost"] == 1


async def _take_one_away(database_url: str, run: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("delete from readings where reading_id = $1", UUID(f"{run}-0000-4000-8000-{7:012x}"))
    await connection.close()


def test_the_credential_and_our_own_authority_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("LOAD_CA_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("LOAD_API_KEY", "load.s3cret")
    with accepting(context) as (url, authorizations):
        runner.run("peak", Target((url,), "TLS"), tmp_path, SHORT)
    assert set(authorizations) == {"Bearer load.s3cret"}
    run = Evidence(tmp_path)
    assert run.judgement[0] == "unknown"  # nobody compared with a database
    assert "s3cret" not in report.write(tmp_path).read_text()


@pytest.mark.parametrize("scenario", ["spike", "mixed", "month", "batch", "capacity", "seed-tests"])
def test_every_script_is_taken_by_our_service(own: service.Instance, scenario: str, tmp_path: Path) -> None:
    settings = {
        **SHORT,
        "LOAD_SPIKE_HOLD_S": "1",
        "LOAD_SPIKE_FACTOR": "1",
        "LOAD_BURST": "20",
        "LOAD_BURST_SECONDS": "1",
    }
    watch = threading.Thread(target=_stop_k6_when, args=(tmp_path, 3))
    watch.start()
    runner.run(scenario, Target(own.base_urls, scenario, own.database_url), tmp_path, settings)
    watch.join()
    run = Evidence(tmp_path)
    assert run.verdict["acknowledged"] > 0
    assert (run.verdict["lost"], run.verdict["duplicated"]) == (0, 0)


def test_a_killed_k6_leaves_a_report_that_says_what_is_missing(tmp_path: Path) -> None:
    with accepting() as (url, _):
        killer = threading.Thread(target=_stop_k6_when, args=(tmp_path, 51), kwargs={"kill": True})
        killer.start()
        runner.run("peak", Target((url,), "Peak"), tmp_path, {**SHORT, "LOAD_DURATION_S": "60"})
        killer.join()
    run = Evidence(tmp_path)
    page = report.write(tmp_path).read_text()
    assert run.verdict["acknowledged"] > 50
    assert run.judgement[0] == "unknown"
    assert "k6 left no summary" in page
    assert "the load stopped after" in page


def test_a_service_that_died_in_the_middle_is_named_with_its_second(tmp_path: Path) -> None:
    answers = [f"{second * 1000} r 0 {second} 1 {201 if second < 6 else 0} 2.0" for second in range(10)]
    (tmp_path / "ledger.log").write_text("\n".join(answers) + "\n")
    assert "From second 6 on the service gave no answer" in report.write(tmp_path).read_text()


def test_a_run_that_left_nothing_still_has_a_report(tmp_path: Path) -> None:
    page = report.write(tmp_path).read_text()
    assert "The ledger is empty" in page
    assert "http://" not in page.replace("http://www.w3.org/", "").replace("http://purl.org/", "")


def _stop_k6_when(folder: Path, lines: int, *, kill: bool = False) -> None:
    """Stops our own k6, found among our children, once its ledger has that many lines."""
    ledger = folder / "ledger.log"
    wait_for(lambda: ledger.exists() and ledger.read_text().count("\n") >= lines)
    for child in psutil.Process().children():
        if child.name() == "k6":
            child.kill() if kill else child.terminate()
