"""The corpus of malformed requests: what broken meters, scripts and attackers send. A name, the bytes, the statuses allowed.

A table of bytes and not of client calls, because most of these no client library would send.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from support.raw import request

DEVICE = "6f1c7d9e-7d5e-4c55-9d0b-000000000001"
JSON = "Content-Type: application/json"
NDJSON = "Content-Type: application/x-ndjson"
CSV = "Content-Type: text/csv"
GZIP = "Content-Encoding: gzip"
GOOD = b'{"device_id":"%s","value":1}' % DEVICE.encode()
LIMIT = 8_388_608


@dataclass(frozen=True, slots=True)
class Malformed:
    """One request and what may be answered."""

    name: str
    data: bytes
    statuses: tuple[int, ...]


BAD_JSON: dict[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "an opening brace": b"{",
    "cut in a key": b'{"device_id',
    "cut behind a colon": b'{"device_id":',
    "cut in a string": b'{"device_id":"6f1c7d9e',
    "cut before the last brace": GOOD[:-1],
    "two documents": GOOD + GOOD,
    "a trailing comma": GOOD[:-1] + b",}",
    "single quotes": GOOD.replace(b'"', b"'"),
    "keys without quotes": b"{device_id:1,value:1}",
    "a comment": GOOD[:-1] + b"/* kWh */}",
    "NaN": GOOD.replace(b":1}", b":NaN}"),
    "Infinity": GOOD.replace(b":1}", b":Infinity}"),
    "-Infinity": GOOD.replace(b":1}", b":-Infinity}"),
    "1e400": GOOD.replace(b":1}", b":1e400}"),
    "a leading zero": GOOD.replace(b":1}", b":01}"),
    "a leading plus": GOOD.replace(b":1}", b":+1}"),
    "hexadecimal": GOOD.replace(b":1}", b":0x1F}"),
    "a decimal comma": GOOD.replace(b":1}", b":1,5}"),
    "a number that ends in a point": GOOD.replace(b":1}", b":1.}"),
    "a bare minus": GOOD.replace(b":1}", b":-}"),
    "bad UTF-8": GOOD.replace(DEVICE.encode(), b"\xff\xfe\xfa"),
    "an overlong UTF-8 sequence": GOOD.replace(DEVICE.encode(), b"\xc0\xaf"),
    "a zero byte in a string": GOOD.replace(DEVICE.encode(), b"a\x00b"),
    "a zero byte behind": GOOD + b"\x00",
    "a bad escape": GOOD.replace(DEVICE.encode(), b"\\x41"),
    "half a surrogate pair": GOOD.replace(DEVICE.encode(), b"\\ud800"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a form": b"device_id=%s&value=1" % DEVICE.encode(),
    "XML": b"<reading><value>1</value></reading>",
    "gzip that nobody announced": gzip.compress(GOOD),
    "random bytes": bytes(range(256)),
    "an equal key twice": GOOD[:-1] + b',"value":2}',
    "an equal key twice, once escaped": GOOD[:-1] + b',"v\\u0061lue":2}',
    "deep arrays": b"[" * 15_000,
    "deep objects": b'{"a":' * 3_000,
}
WRONG_SHAPES: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a string": b'"reading"',
    "an array": b"[]",
    "an array around it": b"[" + GOOD + b"]",
    "an empty object": b"{}",
    "no value": b'{"device_id":"%s"}' % DEVICE.encode(),
    "no device": b'{"value":1}',
    "a null value": GOOD.replace(b":1}", b":null}"),
    "a true value": GOOD.replace(b":1}", b":true}"),
    "a value in an array": GOOD.replace(b":1}", b":[1]}"),
    "a value in an object": GOOD.replace(b":1}", b':{"kwh":1}}'),
    "an empty value": GOOD.replace(b":1}", b':""}'),
    "a word as value": GOOD.replace(b":1}", b':"ten"}'),
    "NaN as a string": GOOD.replace(b":1}", b':"NaN"}'),
    "infinity as a string": GOOD.replace(b":1}", b':"Infinity"}'),
    "1e3 as a string": GOOD.replace(b":1}", b':"1e3"}'),
    "a decimal comma in a string": GOOD.replace(b":1}", b':"10,5"}'),
    "digits of another script": GOOD.replace(b":1}", ':"١٢٣"}'.encode()),
    "a negative value": GOOD.replace(b":1}", b":-1}"),
    "a value above the range": GOOD.replace(b":1}", b":1000000000}"),
    "2 to the 64th": GOOD.replace(b":1}", b":18446744073709551616}"),
    "a number of 400 digits": GOOD.replace(b":1}", b":" + b"9" * 400 + b"}"),
    "a number of 6000 digits": GOOD.replace(b":1}", b":" + b"9" * 6000 + b"}"),
    "1e300": GOOD.replace(b":1}", b":1e300}"),
    "a device that is no UUID": GOOD.replace(DEVICE.encode(), b"meter-17"),
    "a UUID with a digit missing": GOOD.replace(DEVICE.encode(), DEVICE[:-1].encode()),
    "a UUID with a g": GOOD.replace(DEVICE.encode(), DEVICE.replace("f", "g").encode()),
    "an empty device": GOOD.replace(DEVICE.encode(), b""),
    "a numeric device": b'{"device_id":17,"value":1}',
    "an injected device": GOOD.replace(DEVICE.encode(), b"'; DROP TABLE readings; --"),
}
ONLY_READINGS: dict[str, bytes] = {
    "a fourth decimal place": b'"value":1.0005',
    "an unknown member": b'"value":1,"valeu":2',
    "an unknown register": b'"value":1,"register":"T9"',
    "a register in small letters": b'"value":1,"register":"t1"',
    "a null register": b'"value":1,"register":null',
    "an unknown source": b'"value":1,"source":"neighbour"',
    "a time without offset": b'"value":1,"read_at":"2026-11-20T10:00:00"',
    "a date": b'"value":1,"read_at":"2026-11-20"',
    "the 30th of February": b'"value":1,"read_at":"2026-02-30T10:00:00Z"',
    "a time as a number": b'"value":1,"read_at":1700000000',
    "a time before meters": b'"value":1,"read_at":"1812-09-07T05:30:00Z"',
    "a time after us": b'"value":1,"read_at":"2999-01-01T00:00:00Z"',
    "an id that is no UUID": b'"value":1,"reading_id":"17"',
    "confirm as a word": b'"value":1,"confirm":"yes"',
    "confirm as a number": b'"value":1,"confirm":1',
}
UNREAD_MEMBERS: dict[str, bytes] = {
    "a deep member next to an escape": b'"x":%s%s,"y":"\\u0041"' % (b"[" * 1_500, b"]" * 1_500),
    "a member of 6000 digits next to an escape": b'"x":%s,"y":"\\u0041"' % (b"9" * 6000),
}
BAD_BATCHES: dict[str, tuple[bytes, tuple[str, ...], tuple[int, ...]]] = {
    "an empty array": (b"[]", (JSON,), (422,)),
    "an empty body": (b"", (JSON,), (400,)),
    "an empty NDJSON": (b"\n\n", (NDJSON,), (422,)),
    "an empty CSV": (b"", (CSV,), (422,)),
    "a CSV with a header only": (b"device_id,value\n", (CSV,), (422,)),
    "a CSV without header": (f"{DEVICE},1\n".encode(), (CSV,), (422,)),
    "a CSV that names a column twice": (f"device_id,value,value\n{DEVICE},1,2\n".encode(), (CSV,), (422,)),
    "a CSV with an open quote": (f'device_id,value\n{DEVICE},"1\n'.encode(), (CSV,), (400,)),
    "a CSV with a zero byte": (f"device_id,value\n{DEVICE},\0\n".encode(), (CSV,), (400,)),
    "a CSV in Windows-1251": ("device_id,value,показание\n".encode("cp1251"), (CSV,), (400,)),
    "a CSV with one enormous cell": (b"device_id,value\n" + b"9" * 200_000 + b",1\n", (CSV,), (400, 422)),
    "an object": (GOOD, (JSON,), (422,)),
    "a truncated array": (b"[" + GOOD, (JSON,), (400,)),
    "a number": (b"1", (JSON,), (422,)),
    "NaN in the array": (b"[NaN]", (JSON,), (400,)),
    "deep nesting": (b"[" * 100_000, (JSON,), (400,)),
    "four million zeros": (b"[" + b"0," * 4_000_000 + b"0]", (JSON,), (413,)),
    "four million lines": (b"0\n" * 4_000_000, (NDJSON,), (413,)),
    "10 MB": (b" " * 10_000_000, (JSON,), (413,)),
    "one item too many": (b"[" + b",".join([GOOD] * 10_001) + b"]", (JSON,), (413,)),
    "a picture": (b"\x89PNG\r\n", ("Content-Type: image/png",), (415,)),
    "a content type of nonsense": (GOOD, ("Content-Type: ;;;",), (415,)),
    "gzip that isn't": (b"[]", (JSON, GZIP), (400,)),
    "truncated gzip": (gzip.compress(b"[%s]" % GOOD)[:-6], (JSON, GZIP), (400,)),
    "gzip with a wrong checksum": (gzip.compress(b"[]")[:-8] + b"\0" * 8, (JSON, GZIP), (400,)),
    "gzip with something behind": (gzip.compress(b"[]") + b"more", (JSON, GZIP), (400,)),
    "zlib announced as gzip": (zlib.compress(b"[]"), (JSON, GZIP), (400,)),
    "a gzip bomb": (gzip.compress(b" " * 200_000_000), (JSON, GZIP), (413,)),
    "brotli": (b"[]", (JSON, "Content-Encoding: br"), (415,)),
    "two encodings": (b"[]", (JSON, "Content-Encoding: gzip, gzip"), (415,)),
}
BAD_HEADERS: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "an empty Idempotency-Key": (request("POST", "/v1/values", GOOD, "Idempotency-Key:"), (400,)),
    "an Idempotency-Key of 300 characters": (request("POST", "/v1/values", GOOD, "Idempotency-Key: " + "k" * 300), (400,)),
    "an Idempotency-Key with a control character": (request("POST", "/v1/values", GOOD, "Idempotency-Key: a\x01b"), (400,)),
    "a lone CR in a header": (request("POST", "/v1/values", GOOD, "Idempotency-Key: a\rX-Evil: 1"), (400,)),
    "a folded header": (request("POST", "/v1/values", GOOD, "X-A: 1\r\n folded: 2"), (400,)),
    "a zero byte in a header": (request("POST", "/v1/values", GOOD, "X-A: a\0b"), (400,)),
    "a space in a header's name": (request("POST", "/v1/values", GOOD, "X A: 1"), (400,)),
    "a header without colon": (request("POST", "/v1/values", GOOD, "nonsense"), (400,)),
    "a header of 40 KB": (request("POST", "/v1/values", GOOD, "X-A: " + "a" * 40_000), (431,)),
    "3000 headers": (request("POST", "/v1/values", GOOD, *[f"X-{n}: {n}" for n in range(3000)]), (431,)),
    "a path of 40 KB": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", (414, 431)),
    "Content-Length as a word": (b"POST /v1/values HTTP/1.1\r\nHost: test\r\nContent-Length: ten\r\n\r\n", (400,)),
    "a negative Content-Length": (b"POST /v1/values HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n", (400,)),
    "a Content-Length of 30 digits": (
        b"POST /v1/values HTTP/1.1\r\nHost: test\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", (400, 413)
    ),
    "two lengths": (request("POST", "/v1/values", GOOD, "Content-Length: 3"), (400,)),
    "a length and chunks": (request("POST", "/v1/values", GOOD, "Transfer-Encoding: chunked"), (400,)),
    "a chunk size of nonsense": (
        b"POST /v1/values HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (400,)
    ),
    "a length of 10 MB, announced only": (
        b"POST /v1/values HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\n\r\n", (413,)
    ),
    "10 MB in chunks": (
        b"POST /v1/values HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n989680\r\n" + b" " * 10_000_000, (413,)
    ),
    "an unknown HTTP version": (b"POST /v1/values HTTP/9.9\r\nHost: test\r\n\r\n", (400, 505)),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    "an invented method": (b"FROB /v1/values HTTP/1.1\r\nHost: test\r\n\r\n", (400, 405)),
    "JSON that calls itself text": (request("POST", "/v1/readings", GOOD, "Content-Type: text/plain"), (415,)),
    "a compressed single reading": (request("POST", "/v1/values", gzip.compress(GOOD), GZIP), (415,)),
    "10 MB of a single reading": (request("POST", "/v1/readings", b" " * 10_000_000, JSON), (413,)),
}  # fmt: skip


def _cursor(at: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([at, DEVICE]).encode()).decode().rstrip("=")


BAD_ADDRESSES: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "GET of values": ("GET", "/v1/values", (405,)),
    "PUT of values": ("PUT", "/v2/values", (405,)),
    "DELETE of readings": ("DELETE", "/v1/readings", (405,)),
    "OPTIONS of a batch": ("OPTIONS", "/v1/readings/batch", (405,)),
    "TRACE of the window": ("TRACE", "/v1/window", (405,)),
    "POST of the window": ("POST", "/v1/window", (405,)),
    "an unknown path": ("GET", "/v1/nothing", (404,)),
    "a path out of the tree": ("GET", "/../../etc/passwd", (404,)),
    "a trailing slash": ("POST", "/v1/values/", (404,)),
    "a device that is no UUID": ("GET", "/v1/devices/17/readings", (422,)),
    "a zero byte in an account": ("GET", "/v1/accounts/a%00b/readings", (422,)),
    "a zero byte in the place to go on from": ("GET", "/v1/keys?after=%00", (422,)),
    "a limit of 0": ("GET", f"/v1/devices/{DEVICE}/readings?limit=0", (422,)),
    "a limit of a million": ("GET", f"/v1/devices/{DEVICE}/readings?limit=1000000", (422,)),
    "a limit of 40 digits": ("GET", f"/v1/devices/{DEVICE}/readings?limit={'9' * 40}", (422,)),
    "a limit of 5000 digits": ("GET", f"/v1/devices/{DEVICE}/readings?limit={'9' * 5000}", (422,)),
    "a limit as a word": ("GET", f"/v1/devices/{DEVICE}/readings?limit=ten", (422,)),
    "an invented cursor": ("GET", f"/v1/devices/{DEVICE}/readings?cursor=abc", (400,)),
    "a cursor that is not ASCII": ("GET", f"/v1/devices/{DEVICE}/readings?cursor=%D1%8F", (400,)),
    "a cursor without offset": (
        "GET", f"/v1/devices/{DEVICE}/readings?cursor={_cursor('2026-11-20T10:00:00')}", (400,)
    ),
    "a cursor before the first day": (
        "GET", f"/v1/devices/{DEVICE}/readings?cursor={_cursor('0001-01-01T00:00:00+12:00')}", (400,)
    ),
    "from without offset": ("GET", f"/v1/devices/{DEVICE}/readings?from=2026-11-01T00:00:00", (422,)),
    "from as a word": ("GET", f"/v1/devices/{DEVICE}/readings?from=yesterday", (422,)),
    "from as a number": ("GET", f"/v1/devices/{DEVICE}/readings?from=20261101", (422,)),
    "to in the year 9999": ("GET", f"/v1/devices/{DEVICE}/readings?to=9999-12-31T23:59:59-12:00", (422,)),
    "a misspelt from": ("GET", f"/v1/devices/{DEVICE}/readings?form=2026-11-01T00:00:00Z", (400,)),
    "a misspelt from of an account": ("GET", "/v1/accounts/17/readings?From=2026-11-01T00:00:00Z", (400,)),
    "from twice": (
        "GET", f"/v1/devices/{DEVICE}/readings?from=2026-11-01T00:00:00Z&from=2026-10-01T00:00:00Z", (400,)
    ),
    "a zone of another name": ("GET", "/v1/window?zone=Europe/Samara", (400,)),
    "a period of another name": ("GET", "/v1/progress?month=2026-11", (400,)),
    "an export with a limit": ("GET", "/v1/export?period=2026-11&limit=10", (400,)),
    "keys with an offset": ("GET", "/v1/keys?offset=10", (400,)),
    "an unknown zone": ("GET", "/v1/window?tz=Mars/Olympus", (422,)),
    "a zone out of the tree": ("GET", "/v1/window?tz=../../etc/passwd", (422,)),
    "a zone that is a directory": ("GET", "/v1/window?tz=Europe", (422,)),
    "a zone with a zero byte": ("GET", "/v1/window?tz=a%00b", (422,)),
    "a month of 13": ("GET", "/v1/progress?period=2026-13", (422,)),
    "an export without month": ("GET", "/v1/export", (422,)),
    "an export in an unknown format": ("GET", "/v1/export?period=2026-11&format=xlsx", (422,)),
    "an unknown batch parameter": ("POST", "/v1/readings/batch?atomik=true", (400,)),
    "atomic as a number": ("POST", "/v1/readings/batch?atomic=1", (400,)),
    "a correction without body": ("POST", f"/v1/readings/{DEVICE}/{DEVICE}/correction", (400,)),
    "a correction of nothing": ("POST", "/v1/readings/1/2/correction", (422,)),
}  # fmt: skip


def _all() -> Iterator[Malformed]:
    for path in ("/v1/values", "/v2/values", "/v1/readings"):
        for name, body in BAD_JSON.items():
            yield Malformed(f"{path}: {name}", request("POST", path, body, JSON), (400, 422))
        for name, body in WRONG_SHAPES.items():
            yield Malformed(f"{path}: {name}", request("POST", path, body, JSON), (400, 422))
    yield Malformed(
        "/v1/values: a decimal", request("POST", "/v1/values", GOOD.replace(b":1}", b":1.5}"), JSON), (422,)
    )
    for name, members in UNREAD_MEMBERS.items():
        yield Malformed(
            f"/v1/values: {name}", request("POST", "/v1/values", GOOD[:-1] + b"," + members + b"}", JSON), (400, 422)
        )
    for name, members in ONLY_READINGS.items():
        body = b'{"device_id":"%s",%s}' % (DEVICE.encode(), members)
        yield Malformed(f"/v1/readings: {name}", request("POST", "/v1/readings", body, JSON), (422,))
    for name, (body, headers, statuses) in BAD_BATCHES.items():
        yield Malformed(f"batch: {name}", request("POST", "/v1/readings/batch", body, *headers), statuses)
    for name, (data, statuses) in BAD_HEADERS.items():
        yield Malformed(f"headers: {name}", data, statuses)
    for name, (method, target, statuses) in BAD_ADDRESSES.items():
        yield Malformed(f"address: {name}", request(method, target), statuses)
    bad = json.dumps({"value": "1,5"}).encode()
    yield Malformed(
        "correction: a decimal comma", request("POST", f"/v1/readings/{DEVICE}/{DEVICE}/correction", bad), (404, 422)
    )


CORPUS = list(_all())
