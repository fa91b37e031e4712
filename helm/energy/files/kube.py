# ruff: noqa: INP001, S310, T201 - a script that stands alone, asks one server it was told of, and prints for a person
"""What the chart's Jobs ask of the Kubernetes API, with nothing but the standard library.

It exists so that no Job needs an image with kubectl in it. Each command needs one Role of a few named objects; Secrets are
never created here but filled, since the right to create can't be limited to a name. Knows nothing of certificates
beyond their names.
"""

import argparse
import base64
import hashlib
import json
import secrets
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from os import environ
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ISSUED_FOR = "energy-readings.dev/issued-for"
CERTIFICATES = "energy-readings.dev/certificates"
MANAGER = "energy-chart"
REQUEST_TIMEOUT_S = 10.0
NOT_FOUND = 404

MERGE = "application/merge-patch+json"


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

    def secret(self, name: str) -> dict[str, Any]:
        return self.ask("GET", f"/api/v1/namespaces/{{namespace}}/secrets/{name}")

    def fill(self, secret: str, data: Mapping[str, bytes | None], annotations: dict[str, str]) -> None:
        encoded = {key: value and base64.b64encode(value).decode() for key, value in data.items()}
        change = {"metadata": {"annotations": annotations}, "data": encoded}
        self.ask("PATCH", f"/api/v1/namespaces/{{namespace}}/secrets/{secret}?fieldManager={MANAGER}", change, MERGE)
        print(f"Secret {secret}: filled", flush=True)


def fill_certificates(api: Api, folder: Path, prefix: str, issued_for: str, *, renew: bool) -> None:
    """Fills a Secret for each folder in `folder`, except those that were filled for the same hosts and authority before.

    The authority comes first: were this to stop halfway, the next run signs with the same one.
    """
    fill_authority(api, folder / "ca", f"{prefix}-ca")
    for party in sorted(party for party in folder.iterdir() if party.name != "ca"):
        secret = f"{prefix}-{party.name}"
        there = api.secret(secret)
        before = there["metadata"].get("annotations", {}).get(ISSUED_FOR)
        if there.get("data") and before == issued_for and not renew:
            print(f"Secret {secret}: left as it is", flush=True)
            continue
        api.fill(secret, files_of(party), {ISSUED_FOR: issued_for})


def fill_authority(api: Api, folder: Path, secret: str) -> None:
    """Writes the authority, unless another run has made a different one meanwhile: certificates of two would not mix."""
    there = {key: base64.b64decode(value) for key, value in api.secret(secret).get("data", {}).items()}
    ours = files_of(folder)
    known = {there.get("ca.crt"), there.get("next.crt")}
    if there and (ours["ca.crt"] not in known or ours.get("next.crt") not in {None, there.get("next.crt", ours.get("next.crt"))}):
        sys.exit(f"kube.py: Secret {secret} has another authority than the one this pod signed with; the next attempt takes that one")
    if ours != there:
        api.fill(secret, ours | dict.fromkeys(there.keys() - ours.keys()), {})


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def restart(api: Api, secret: str, statefulset: str) -> None:
    """Restarts nodes that started with other certificates than the Secret's: one by one, and only when all of them are ready."""
    data = api.secret(secret).get("data", {})
    wanted = hashlib.sha256(repr([data.get(key) for key in ("ca.crt", "tls.crt")]).encode()).hexdigest()[:16]
    path = f"/apis/apps/v1/namespaces/{{namespace}}/statefulsets/{statefulset}"
    try:
        found = api.ask("GET", path)
    except urllib.error.HTTPError as refused:
        if refused.code != NOT_FOUND:
            raise
        print(f"StatefulSet {statefulset}: not there yet", flush=True)
        return
    running = found["metadata"].get("annotations", {}).get(CERTIFICATES)
    if running == wanted:
        print(f"StatefulSet {statefulset}: runs on these certificates", flush=True)
        return
    note: dict[str, Any] = {"metadata": {"annotations": {CERTIFICATES: wanted}}}
    if running:  # else it is the first time, and its nodes start with what there is now
        status, nodes = found.get("status", {}), found["spec"]["replicas"]
        if not status.get("readyReplicas") == status.get("updatedReplicas") == nodes:
            sys.exit(f"kube.py: StatefulSet {statefulset}: not all of its {nodes} nodes are ready and up to date; not restarting any")
        note["spec"] = {"template": {"metadata": note["metadata"]}}
    api.ask("PATCH", f"{path}?fieldManager={MANAGER}", note, MERGE)
    print(f"StatefulSet {statefulset}: {'restarting' if running else 'noted'}", flush=True)


def write_locality(api: Api, node: str, file: Path, labels: list[str]) -> None:
    """Writes `region=…,zone=…` as CockroachDB wants it, from the labels of the node that this pod is on."""
    there = api.ask("GET", f"/api/v1/nodes/{node}")["metadata"].get("labels", {})
    missing = [label for label in labels if not there.get(label)]
    if missing:
        sys.exit(f"kube.py: node {node} has no label {', '.join(missing)}; see cockroachdb.localityLabels")
    file.write_text(",".join(f"{label.rpartition('/')[2]}={there[label]}" for label in labels))
    print(f"locality of {node}: {file.read_text()}", flush=True)


def new_admin_key(key: str) -> dict[str, str]:
    return {key: f"bootstrap.{secrets.token_urlsafe(32)}"}


def new_login(user: str) -> dict[str, str]:
    """Hexadecimal, because the password becomes part of a URL."""
    return {"username": user, "password": secrets.token_hex(32)}


def fill_once(api: Api, secret: str, data: Mapping[str, str]) -> None:
    """Puts what was just made up into an empty Secret; one that has it already is left alone."""
    if data.keys() <= api.secret(secret).get("data", {}).keys():
        print(f"Secret {secret}: has its {' and '.join(data)}", flush=True)
        return
    api.fill(secret, {key: value.encode() for key, value in data.items()}, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    certificates = commands.add_parser("certificates", help="fill Secrets from a folder of folders, then restart")
    certificates.add_argument("folder", type=Path)
    certificates.add_argument("prefix")
    certificates.add_argument("issued_for")
    certificates.add_argument("--renew", action="store_true", help="fill those that have been filled too")
    restarts = commands.add_parser("restart", help="restart nodes that run on other certificates than the Secret's")
    for command in (certificates, restarts):
        command.add_argument("--secret", required=True)
        command.add_argument("--statefulset", required=True)
    admin_key = commands.add_parser("admin-key", help="put a random admin key into an empty Secret")
    admin_key.add_argument("secret")
    admin_key.add_argument("key")
    password = commands.add_parser("password", help="put a user's name and a random password into an empty Secret")
    password.add_argument("secret")
    password.add_argument("user")
    locality = commands.add_parser("locality", help="write the place of a node for CockroachDB")
    locality.add_argument("node")
    locality.add_argument("file", type=Path)
    locality.add_argument("labels", nargs="+")
    asked = parser.parse_args()

    api = Api()
    try:
        if asked.command == "certificates":
            fill_certificates(api, asked.folder, asked.prefix, asked.issued_for, renew=asked.renew)
        if asked.command in {"certificates", "restart"}:
            restart(api, asked.secret, asked.statefulset)
        elif asked.command == "admin-key":
            fill_once(api, asked.secret, new_admin_key(asked.key))
        elif asked.command == "password":
            fill_once(api, asked.secret, new_login(asked.user))
        else:
            write_locality(api, asked.node, asked.file, asked.labels)
    except urllib.error.HTTPError as refused:
        sys.exit(f"kube.py {asked.command}: the API server answered {refused.code}: {refused.read().decode()}")


if __name__ == "__main__":
    main()
