# ruff: noqa: INP001, S310, T201 - a script that stands alone, asks one server it was told of, and prints for a person
"""What the chart's Jobs ask of the Kubernetes API, with nothing but the standard library.

It exists so that no Job needs an image with kubectl in it. Each command needs one Role of a few named objects; Secrets are
never created here but filled, since the right to create can't be limited to a name. Knows nothing of certificates or of
billing windows beyond their names.
"""

import argparse
import base64
import json
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from os import environ
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
WINDOWS = "/apis/prescaler.energy-readings.dev/v1alpha1/namespaces/{namespace}/billingwindows"
ISSUED_FOR = "energy-readings.dev/issued-for"
RENEWED_AT = "energy-readings.dev/certificates-renewed-at"
MANAGER = "energy-chart"
REQUEST_TIMEOUT_S = 10.0
POLL_EVERY_S = 1.0
NOT_FOUND = 404

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Api:
    """The API server, as this pod's own service account."""

    def __init__(self) -> None:
        self.namespace = (ACCOUNT / "namespace").read_text()
        host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT_HTTPS"]
        self._base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> dict[str, Any]:
        request = urllib.request.Request(self._base + path.format(namespace=self.namespace), method=method)
        request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S, context=self._tls) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def fill(self, secret: str, data: dict[str, bytes], annotations: dict[str, str]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        change = {"metadata": {"annotations": annotations}, "data": encoded}
        self.ask("PATCH", f"/api/v1/namespaces/{{namespace}}/secrets/{secret}?fieldManager={MANAGER}", change, MERGE)
        print(f"Secret {secret}: filled", flush=True)


def fill_certificates(api: Api, folder: Path, prefix: str, issued_for: str, *, renew: bool) -> None:
    """Fills a Secret for each folder in `folder`, except those that were filled for the same hosts before.

    The authority comes first and is never replaced: were this to stop halfway, the next run signs with the same one.
    """
    for party in sorted(folder.iterdir(), key=lambda party: (party.name != "ca", party.name)):
        secret = f"{prefix}-{party.name}"
        there = api.ask("GET", f"/api/v1/namespaces/{{namespace}}/secrets/{secret}")
        before = there["metadata"].get("annotations", {}).get(ISSUED_FOR)
        if there.get("data") and (party.name == "ca" or (before == issued_for and not renew)):
            print(f"Secret {secret}: left as it is", flush=True)
            continue
        api.fill(secret, {file.name: file.read_bytes() for file in party.iterdir()}, {ISSUED_FOR: issued_for})


def restart(api: Api, workloads: list[str]) -> None:
    """Rolls workloads as `kubectl rollout restart` does, so that they read their renewed certificates."""
    annotation = {RENEWED_AT: datetime.now(UTC).isoformat(timespec="seconds")}
    change = {"spec": {"template": {"metadata": {"annotations": annotation}}}}
    for workload in workloads:
        path = f"/apis/apps/v1/namespaces/{{namespace}}/{workload}?fieldManager={MANAGER}"
        api.ask("PATCH", path, change, MERGE)
        print(f"{workload}: restarting", flush=True)


def make_admin_key(api: Api, secret: str, key: str) -> None:
    """Puts a random admin key into an empty Secret; one that has a key is left alone."""
    if key in api.ask("GET", f"/api/v1/namespaces/{{namespace}}/secrets/{secret}").get("data", {}):
        print(f"Secret {secret}: has its key", flush=True)
        return
    api.fill(secret, {key: f"bootstrap.{secrets.token_urlsafe(32)}".encode()}, {})


def apply_window(api: Api, file: Path, deadline_s: float) -> None:
    """Applies a BillingWindow, as soon as its CRD is established."""
    window = json.loads(file.read_text())
    path = f"{WINDOWS}/{window['metadata']['name']}?fieldManager={MANAGER}&force=true"
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            api.ask("PATCH", path, window, APPLY)
        except urllib.error.HTTPError as refused:
            if refused.code != NOT_FOUND or time.monotonic() > deadline:
                raise
            time.sleep(POLL_EVERY_S)
        else:
            print(f"BillingWindow {window['metadata']['name']}: applied", flush=True)
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    certificates = commands.add_parser("certificates", help="fill Secrets from a folder of folders")
    certificates.add_argument("folder", type=Path)
    certificates.add_argument("prefix")
    certificates.add_argument("issued_for")
    certificates.add_argument("--renew", nargs="+", default=[], help="sign anew, and restart these: deployments/NAME")
    admin_key = commands.add_parser("admin-key", help="put a random admin key into an empty Secret")
    admin_key.add_argument("secret")
    admin_key.add_argument("key")
    window = commands.add_parser("apply-window", help="apply a BillingWindow")
    window.add_argument("file", type=Path)
    window.add_argument("--deadline-s", type=float, default=60.0)
    asked = parser.parse_args()

    api = Api()
    try:
        if asked.command == "certificates":
            fill_certificates(api, asked.folder, asked.prefix, asked.issued_for, renew=bool(asked.renew))
            restart(api, asked.renew)
        elif asked.command == "admin-key":
            make_admin_key(api, asked.secret, asked.key)
        else:
            apply_window(api, asked.file, asked.deadline_s)
    except urllib.error.HTTPError as refused:
        sys.exit(f"kube.py {asked.command}: the API server answered {refused.code}: {refused.read().decode()}")


if __name__ == "__main__":
    main()
