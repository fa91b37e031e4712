"""What a hostile or broken client sends: a table of attacks, each a function from a random source to bytes and manners.

It exists so that the load beside the good clients is a list one can read and add to. Every attack is bounded: its bytes are
made before it connects, and it hangs up when its patience ends, whatever the other side does.

Knows nothing of the measurement; `hostile.py` decides how many are sent and judges the service.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

ANSWER_BYTES_MAX = 4_096
NO_ANSWER = "closed without an answer"
STILL_OPEN = "still open"


@dataclass(frozen=True, slots=True)
class Attack:
    """One conversation: the pieces to send, and how long to pause before each piece but the first."""

    pieces: list[bytes] = field(repr=False)
    pause_s: float = 0.0


Maker = Callable[[random.Random, str], Attack]


def _request(method: str, path: str, body: bytes = b"", *headers: str, announced: int | None = None) -> bytes:
    length = len(body) if announced is None else announced
    head = [f"{method} {path} HTTP/1.1", "Host: energy", f"Content-Length: {length}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def _value(dice: random.Random) -> bytes:
    return b'{"device_id":"%s","value":%d}' % (
        str(uuid.UUID(int=dice.getrandbits(128))).encode(),
        dice.randrange(10**6),
    )


@cache
def _bomb(content: bytes, times: int) -> bytes:
    """A few kilobytes that unpack to megabytes."""
    return gzip.compress(content * times, mtime=0)


def _batch(body: bytes, content_type: str, key: str) -> Attack:
    headers = (f"Authorization: Bearer {key}", f"Content-Type: {content_type}", "Content-Encoding: gzip")
    return Attack([_request("POST", "/v1/readings/batch", body, *headers)])


def huge_token(dice: random.Random, _key: str) -> Attack:
    """A new bearer token of 15 KB each time."""
    token = f"{dice.getrandbits(64):x}." + "a" * 15_000
    return Attack([_request("POST", "/v1/values", _value(dice), f"Authorization: Bearer {token}")])


def unknown_token(dice: random.Random, _key: str) -> Attack:
    """A new well-formed token each time: a look-up each."""
    return Attack(
        [_request("POST", "/v1/values", _value(dice), f"Authorization: Bearer k{dice.getrandbits(40):x}.{'s' * 32}")]
    )


def silent(_dice: random.Random, _key: str) -> Attack:
    """Connects and says nothing."""
    return Attack([])


def slow_body(dice: random.Random, key: str) -> Attack:
    """Announces a body and sends a byte now and then."""
    head = _request(
        "POST",
        "/v1/readings/batch",
        b"",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        announced=1000,
    )
    return Attack([head, *([b" "] * 50)], pause_s=dice.uniform(0.5, 1.0))


def slow_headers(dice: random.Random, _key: str) -> Attack:
    """Sends a header now and then and never the last."""
    return Attack(
        [b"POST /v1/values HTTP/1.1\r\nHost: energy\r\n", *([b"X-A: b\r\n"] * 50)], pause_s=dice.uniform(0.5, 1.0)
    )


def csv_bomb(_dice: random.Random, key: str) -> Attack:
    """Eight kilobytes of gzip, eight million empty CSV lines."""
    return _batch(_bomb(b"\n", 8_000_000), "text/csv", key)


def json_bomb(_dice: random.Random, key: str) -> Attack:
    """Eight kilobytes of gzip, four million zeros in a JSON array."""
    return _batch(_bomb(b"[" + b"0," * 3_999_999 + b"0]", 1), "application/json", key)


def repeated_keys(dice: random.Random, key: str) -> Attack:
    """A body of 15 KB with 1,900 unknown members and one of them twice."""
    members = b",".join(b'"%x":0' % n for n in range(1_500))
    body = _value(dice)[:-1] + b"," + members + b',"value":1}'
    return Attack([_request("POST", "/v1/values", body, f"Authorization: Bearer {key}")])


def head(dice: random.Random, _key: str) -> Attack:
    """HEAD, as monitors send it."""
    return Attack([_request("HEAD", dice.choice(["/livez", "/readyz", "/v1/values", "/nothing"]))])


def pipelined_junk(dice: random.Random, key: str) -> Attack:
    """A whole request and then bytes that are none."""
    junk = dice.randbytes(200).replace(b"\n", b"x")
    return Attack([_request("POST", "/v1/values", _value(dice), f"Authorization: Bearer {key}") + junk + b"\r\n\r\n"])


def junk(dice: random.Random, _key: str) -> Attack:
    """Bytes of no protocol at all."""
    return Attack([dice.randbytes(dice.randrange(1, 2_000)) + b"\r\n\r\n"])


def huge_headers(_dice: random.Random, _key: str) -> Attack:
    """Sixty kilobytes of headers."""
    return Attack([_request("POST", "/v1/values", b"{}", *[f"X-{n}: {'a' * 1_000}" for n in range(60)])])


def huge_body(_dice: random.Random, key: str) -> Attack:
    """Three hundred kilobytes where sixteen are allowed."""
    return Attack(
        [
            _request(
                "POST", "/v1/readings", b" " * 300_000, f"Authorization: Bearer {key}", "Content-Type: application/json"
            )
        ]
    )


def deep_json(_dice: random.Random, key: str) -> Attack:
    """Eight thousand arrays inside each other."""
    headers = (f"Authorization: Bearer {key}", "Content-Type: application/json")
    return Attack([_request("POST", "/v1/readings", b"[" * 8_000 + b"]" * 8_000, *headers)])


def hang_up(dice: random.Random, key: str) -> Attack:
    """Sends half a request and goes; the pause is no pause, the socket closes at once."""
    whole = _request("POST", "/v1/values", _value(dice), f"Authorization: Bearer {key}")
    return Attack([whole[: dice.randrange(1, len(whole))]], pause_s=-1)


ATTACKS: dict[str, Maker] = {
    maker.__name__.replace("_", " "): maker
    for maker in (
        huge_token, unknown_token, silent, slow_body, slow_headers, csv_bomb, json_bomb, repeated_keys, head,
        pipelined_junk, junk, huge_headers, huge_body, deep_json, hang_up,
    )
}  # fmt: skip
"""By the name that the report uses."""
HELD = frozenset({"silent", "slow body", "slow headers"})
"""Those that hold a connection for as long as the service lets them: sent less often, so that the run ends."""


async def play(address: tuple[str, int], attack: Attack, patience_s: float) -> str:
    """Holds the conversation; returns the status of the first answer, or how it ended without one."""
    try:
        async with asyncio.timeout(patience_s):
            reader, writer = await asyncio.open_connection(*address)
            try:
                return await _converse(reader, writer, attack)
            finally:
                writer.close()
    except TimeoutError:
        return STILL_OPEN
    except OSError as error:
        return f"{type(error).__name__}"


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, attack: Attack) -> str:
    answer = asyncio.ensure_future(reader.read(ANSWER_BYTES_MAX))
    try:
        for number, piece in enumerate(attack.pieces):
            if number and await _answered(answer, attack.pause_s):
                break
            writer.write(piece)
            await writer.drain()
        if attack.pause_s < 0:
            return "hung up"
        first = await answer
    finally:
        answer.cancel()
    return first[9:12].decode("latin-1") if first.startswith(b"HTTP/1.1 ") else NO_ANSWER


async def _answered(answer: asyncio.Future[bytes], within_s: float) -> bool:
    return bool((await asyncio.wait([answer], timeout=within_s))[0])
