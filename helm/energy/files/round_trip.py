# ruff: noqa: INP001, S310, T201 - a script that stands alone, asks one server it was told of, and prints for a person
"""`helm test`: posts a reading with a key, posts it again, and reads it back; without the key it must be refused.

The device is always the same made-up one, which no account knows, so that nobody's bill is touched.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from os import environ
from typing import Any

DEVICE = "00000000-0000-4000-8000-0000006e6572"
TIMEOUT_S = 10.0
DEADLINE_S = 60.0


def ask(method: str, path: str, body: object = None, *, key: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(environ["URL"].rstrip("/") + path, method=method)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode(errors="replace")


def expect(what: str, wanted: int, seen: tuple[int, Any]) -> Any:
    status, body = seen
    print(f"{what}: {status}", flush=True)
    if status != wanted:
        sys.exit(f"{what}: expected {wanted}, got {status}: {body}")
    return body


def main() -> None:
    key = environ["KEY"]
    value = f"{time.time() / 1000:.3f}"  # a meter that never runs backwards
    reading = {
        "device_id": DEVICE,
        "reading_id": str(uuid.uuid4()),
        "register": "T0",
        "value": value,
        "read_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    expect("without a key", 401, ask("POST", "/v1/readings", reading))
    expect("a reading", 201, ask("POST", "/v1/readings", reading, key=key))
    expect("the same reading again", 200, ask("POST", "/v1/readings", reading, key=key))

    deadline = time.monotonic() + DEADLINE_S  # a read replica may be a little behind
    while True:
        page = expect("its history", 200, ask("GET", f"/v1/devices/{DEVICE}/readings?limit=10", key=key))
        if reading["reading_id"] in {item["reading_id"] for item in page["items"]}:
            break
        if time.monotonic() > deadline:
            sys.exit(f"reading {reading['reading_id']} was acknowledged but is not in the history: {page}")
        time.sleep(1)
    print("it is there")


if __name__ == "__main__":
    main()
