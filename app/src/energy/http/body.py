"""Reads a request's body within its limit of size, and unpacks gzip without being blown up by it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from energy.http.responses import Receive
from energy.wire.problems import Problem

_GZIP = 16 + zlib.MAX_WBITS


class ClientGone(Exception):
    """The client hung up before its request was complete; there is nobody to answer."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], bytes_max: int) -> bytes:
    """The raw body. Raises `Problem` (413, before reading when its length is announced) or `ClientGone`.

    That it arrives in time is seen to by the HTTP protocol, which hangs up on slow clients (`connection.py`).
    """
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > bytes_max:  # the HTTP parser has seen to it that it is a number
        raise _too_large(bytes_max)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message["body"]
    if message["more_body"]:
        return await _read_rest(receive, body, bytes_max)
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    return body


async def _read_rest(receive: Receive, first: bytes, bytes_max: int) -> bytes:
    parts, size = [first], len(first)
    while True:
        if size > bytes_max:
            raise _too_large(bytes_max)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message["body"])
        size += len(message["body"])
        if not message["more_body"]:
            if size > bytes_max:
                raise _too_large(bytes_max)
            return b"".join(parts)


def unpack(body: bytes, encoding: bytes | None, bytes_max: int) -> bytes:
    """The body without its content encoding; a bomb is stopped at `bytes_max`. Raises `Problem`."""
    if encoding is None or encoding.lower() == b"identity":
        return body
    if encoding.lower() not in (b"gzip", b"x-gzip"):
        raise Problem("unsupported_media_type", "Content-Encoding can be gzip or left out.")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise Problem("malformed", f"The body is not valid gzip: {error}.") from None
    if len(plain) > bytes_max:
        raise _too_large(bytes_max)
    if not unpacker.eof:
        raise Problem("malformed", "The gzip stream ends too early.")
    if unpacker.unused_data:
        raise Problem("malformed", "There is something behind the end of the gzip stream.")
    return plain


def _too_large(bytes_max: int) -> Problem:
    return Problem("too_large", f"The body may have at most {bytes_max} bytes.")
