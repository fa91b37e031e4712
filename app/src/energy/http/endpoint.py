"""What every hand-written endpoint has in common: whatever happens inside, the client gets one proper answer."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass

from energy.http.body import ClientGone
from energy.http.responses import Receive, Scope, Send, respond_problem
from energy.wire.problems import Problem

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint(ABC):
    """An ASGI application for one path and POST. `route` is the path template, for metrics and documentation."""

    route: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers; an exception becomes a problem document, or nothing when nobody is there to read it."""
        try:
            await self.answer(scope, receive, send)
        except Problem as problem:
            await respond_problem(send, self.route, problem)
        except ClientGone:
            log.debug("a client hung up before its request was complete")
        except Exception:
            log.exception("%s failed", self.route)
            await respond_problem(
                send, self.route, Problem("internal", "It may not be stored. Send it again with its id.")
            )

    @abstractmethod
    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The endpoint's own part; may raise `Problem`."""
