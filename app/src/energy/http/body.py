"""Reads a request's body within its limit of size, and unpacks gzip without being blown up by it.

That it arrives in time is ensured by the connection, which refuses slow clients (`connection.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping

from energy.http.responses import Receive, Scope
from energy.wire.problems import Problem

_GZIP = 16 + zlib.MAX_WBITS
_PACKED_BYTES, _PLAIN_BYTES = 4_096, 65_536
"""Most bytes that go into the unpacker, and come out of it, at a time: some hundred microseconds of work."""


_MEMBERS_MAX = 10_000
"""Each costs an unpacker, and may be empty."""
Turn = Callable[[], Awaitable[None]]
"""Waits until it is one's turn to work again."""


class ClientGone(Exception):
    """The client hung up before its request was complete; there is nobody to answer."""


async def read_body(
    scope: Scope,
    receive: Receive,
    bytes_max: int,
    take: Callable[[int], None] | None = None,
) -> bytes:
    """The raw body. Raises `Problem` (413, before reading when its length is announced) or `ClientGone`.

    `take` is told of every piece before the next is asked for.
    """
    announced = scope["header_map"].get(b"content-length")
    if announced is not None and int(announced) > bytes_max:  # the parser has made sure that it is a number
        raise _too_large(bytes_max)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if "refusal" in scope:  # by the connection: the rest did not arrive, or is not HTTP
            raise scope["refusal"]
        part: bytes = message["body"]
        size += len(part)
        if size > bytes_max:
            raise _too_large(bytes_max)
        if take is not None:
            take(len(part))
        if not message["more_body"]:
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


async def unpack(
    body: bytes, encoding: bytes | None, bytes_max: int, look: Callable[[bytes], None], turn: Turn
) -> bytes:
    """The body without its content encoding; a bomb is stopped at `bytes_max`, or where `look` refuses a part. Raises `Problem`.

    A gzip stream may have several members (RFC 1952). Other requests get their turn between the parts.
    """
    if encoding is None or encoding.lower() == b"identity":
        look(body)
        return body
    if encoding.lower() not in (b"gzip", b"x-gzip"):
        raise Problem("unsupported_media_type", "Content-Encoding can be gzip or left out.")
    plain, packed, at = bytearray(), memoryview(body), 0
    unpacker, members = zlib.decompressobj(_GZIP), 0
    while True:
        piece = packed[at : at + _PACKED_BYTES]
        try:
            part = unpacker.decompress(piece, _PLAIN_BYTES)
        except zlib.error as error:
            raise Problem("malformed", f"The body is not valid gzip: {error}.") from None
        at += len(piece) - len(unpacker.unconsumed_tail) - len(unpacker.unused_data)
        plain += part
        if len(plain) > bytes_max:
            raise _too_large(bytes_max)
        look(part)
        if unpacker.eof and at >= len(packed):
            return bytes(plain)
        if unpacker.eof:
            members += 1
            if members >= _MEMBERS_MAX:
                raise Problem("too_large", f"A gzip stream may have at most {_MEMBERS_MAX} members.")
            unpacker = zlib.decompressobj(_GZIP)
        elif not piece and not part:
            raise Problem("malformed", "The gzip stream ends too early.")
        await turn()


def require_json(headers: Mapping[bytes, bytes]) -> None:
    """Raises `Problem` for a body that says that it is something else."""
    content_type = headers.get(b"content-type")
    if content_type is None:
        return
    kind = content_type.split(b";", 1)[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Problem("unsupported_media_type", "Send `Content-Type: application/json`.")


def _too_large(bytes_max: int) -> Problem:
    return Problem("too_large", f"The body may have at most {bytes_max} bytes.")
