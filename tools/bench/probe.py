"""One more client beside the crowd, which sends calmly and notes how long each kind of answer took."""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

EVERY_S = 0.02


class Probe:
    """Posts a reading every 20 ms from a thread of its own while the block runs."""

    def __init__(self, base: str, path: str) -> None:
        self._address, self._path = urlsplit(base).netloc, path
        self._ended = threading.Event()
        self._took_ms: dict[int, list[float]] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def p99_ms(self, status: int) -> float:
        """Of the answers with this status, or 0 where there was none."""
        took = sorted(self._took_ms.get(status, [0.0]))
        return took[int(len(took) * 0.99)]

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        while not self._ended.wait(EVERY_S):
            body = f'{{"device_id":"{uuid4()}","value":1}}'
            started = time.perf_counter()
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            self._took_ms.setdefault(answer.status, []).append((time.perf_counter() - started) * 1000)
        connection.close()
