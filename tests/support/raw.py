"""HTTP by hand, for requests that no client library would send."""

from __future__ import annotations

import io
import json
import socket
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, Self

from support.service import Running


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class _Answers(io.BufferedReader):
    """What is read of a connection. Stays open between two answers, whoever closes it."""

    def close(self) -> None:
        return

    def makefile(self, _mode: str) -> Self:
        return self


class RawConnection:
    """A socket to the service."""

    def __init__(self, service: Running, timeout_s: float = 15.0) -> None:
        self.socket = socket.create_connection(service.address, timeout=timeout_s)
        self._answers = _Answers(socket.SocketIO(self.socket, "r"))

    def send(self, data: bytes) -> None:
        """Sends as much as the other side takes: it may answer and hang up before the end."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self, method: str = "POST") -> RawAnswer:
        """Reads one response."""
        response = HTTPResponse(self._answers, method=method)  # type: ignore[arg-type]  # it only makes a file of it
        try:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return RawAnswer(response.status, headers, response.read())
        finally:
            response.close()

    def closed(self) -> bool:
        """Waits for the other side to say something, and whether it hung up instead."""
        return self._answers.read(1) == b""

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()


def exchange(service: Running, data: bytes) -> RawAnswer:
    """Sends bytes on a connection of their own and returns the first answer."""
    connection = RawConnection(service)
    try:
        connection.send(data)
        return connection.answer()
    finally:
        connection.close()


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """The bytes of a request; Host and Content-Length are added."""
    head = [f"{method} {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
