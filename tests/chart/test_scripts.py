"""The chart's own scripts against a real API server and CockroachDB's real parser."""

import base64
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
import yaml

from cluster.fixtures import demand
from tools.cluster import Cluster
from tools.cluster.binaries import program
from tools.render import CHART, ROOT, template

pytestmark = pytest.mark.cluster
PARTIES = ("ca", "node", "app")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kube", CHART / "files" / "kube.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def api_as(
    control_plane: Cluster, control_plane_namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[ModuleType, Any]]:
    """The script with the token of one of the chart's accounts, as it would find it in its pod."""
    rendered = template(f"--namespace={control_plane_namespace}", "--no-hooks")
    wanted = {"ServiceAccount", "Role", "RoleBinding", "Secret"}
    objects = [m | {"metadata": m["metadata"] | {"namespace": control_plane_namespace}}
               for m in yaml.safe_load_all(rendered) if m and m["kind"] in wanted]  # fmt: skip
    control_plane.kubectl.apply(*objects)

    def become(account: str) -> tuple[ModuleType, Any]:
        kube = script()
        token = control_plane.kubectl("create", "token", account, "-n", control_plane_namespace)
        config = yaml.safe_load(control_plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        authority = (
            base64.b64decode(config["certificate-authority-data"]).decode()
            if "certificate-authority-data" in config
            else Path(config["certificate-authority"]).read_text()
        )
        for name, text in (("token", token), ("namespace", control_plane_namespace), ("ca.crt", authority)):
            (tmp_path / name).write_text(text)
        address = urlsplit(config["server"])
        monkeypatch.setattr(kube, "ACCOUNT", tmp_path)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT_HTTPS", str(address.port))
        return kube, kube.Api()

    return become


def data_of(cluster: Cluster, namespace: str, secret: str) -> dict[str, str]:
    found: dict[str, str] = cluster.kubectl.get("secret", secret, namespace=namespace).get("data", {})
    return found


def test_an_admin_key_is_made_once(
    api_as: Callable[..., Any],
    control_plane: Cluster,
    control_plane_namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kube, _ = api_as("energy-migrate")
    monkeypatch.setattr(sys, "argv", ["kube.py", "admin-key", "energy-bootstrap", "admin-key"])
    kube.main()
    first = data_of(control_plane, control_plane_namespace, "energy-bootstrap")
    key_id, secret = base64.b64decode(first["admin-key"]).decode().split(".")
    assert key_id == "bootstrap"
    assert len(secret) >= 40
    kube.main()
    assert data_of(control_plane, control_plane_namespace, "energy-bootstrap") == first


def signed(folder: Path, mark: str, authority: str = "CA") -> Path:
    for party in PARTIES:
        (folder / party).mkdir(parents=True, exist_ok=True)
    (folder / "ca" / "ca.crt").write_text(authority)
    (folder / "ca" / "ca.key").write_text(f"key of {authority}")
    for party in PARTIES[1:]:
        (folder / party / "ca.crt").write_text(authority)
        (folder / party / "tls.crt").write_text(f"{mark} {party}")
    return folder


def found_in(cluster: Cluster, namespace: str, key: str = "tls.crt") -> list[str]:
    found = (data_of(cluster, namespace, f"energy-cockroachdb-{party}") for party in PARTIES[1:])
    return [base64.b64decode(data[key]).decode() for data in found]


def test_certificates_are_filled_once_renewed_when_asked_and_anew_for_new_hosts(
    api_as: Callable[..., Any], control_plane: Cluster, control_plane_namespace: str, tmp_path: Path
) -> None:
    kube, api = api_as("energy-cockroachdb-certificates")

    def run(mark: str, hosts: str, *, renew: bool = False) -> list[str]:
        kube.fill_certificates(api, signed(tmp_path / "work", mark), "energy-cockroachdb", hosts, renew=renew)
        return found_in(control_plane, control_plane_namespace)

    assert run("first", "hosts") == ["first node", "first app"]
    assert run("again", "hosts") == ["first node", "first app"]
    assert run("renewed", "hosts", renew=True) == ["renewed node", "renewed app"]
    assert run("after", "hosts") == ["renewed node", "renewed app"]
    assert run("moved", "other hosts") == ["moved node", "moved app"]
    assert base64.b64decode(data_of(control_plane, control_plane_namespace, "energy-cockroachdb-ca")["ca.crt"]) == b"CA"


def test_a_pod_that_signed_with_another_authority_writes_nothing(
    api_as: Callable[..., Any], control_plane: Cluster, control_plane_namespace: str, tmp_path: Path
) -> None:
    kube, api = api_as("energy-cockroachdb-certificates")
    kube.fill_certificates(api, signed(tmp_path / "one", "one"), "energy-cockroachdb", "hosts", renew=False)
    other = signed(tmp_path / "two", "two", authority="another CA")
    with pytest.raises(SystemExit, match="another authority"):
        kube.fill_certificates(api, other, "energy-cockroachdb", "hosts", renew=True)
    assert found_in(control_plane, control_plane_namespace) == ["one node", "one app"]


def test_the_authority_is_replaced_with_an_overlap(
    api_as: Callable[..., Any], control_plane: Cluster, control_plane_namespace: str, tmp_path: Path
) -> None:
    kube, api = api_as("energy-cockroachdb-certificates")
    work = tmp_path / "work"

    def step(name: str, **authority: str) -> dict[str, str]:
        signed(work, name)
        for file in (work / "ca").iterdir():
            file.unlink()
        for file_name, text in authority.items():
            (work / "ca" / file_name.replace("_", ".")).write_text(text)
        kube.fill_certificates(api, work, "energy-cockroachdb", name, renew=False)
        return {
            key: base64.b64decode(value).decode()
            for key, value in data_of(control_plane, control_plane_namespace, "energy-cockroachdb-ca").items()
        }

    both = {"ca.crt": "old", "ca.key": "old key", "next.crt": "new", "next.key": "new key"}
    step("", ca_crt="old", ca_key="old key")
    assert step("trust", ca_crt="old", ca_key="old key", next_crt="new", next_key="new key") == both
    with pytest.raises(SystemExit, match="another authority"):  # a stale mount has made a second next one
        step("trust again", ca_crt="old", ca_key="old key", next_crt="newer", next_key="newer key")
    assert step("finish", ca_crt="new", ca_key="new key") == {"ca.crt": "new", "ca.key": "new key"}


STATEFULSET = {
    "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "energy-cockroachdb"},
    "spec": {
        "serviceName": "x", "replicas": 3, "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "x", "image": "x"}]},
        },
    },
}  # fmt: skip


def test_nodes_are_restarted_for_new_certificates_only_when_all_are_ready(
    api_as: Callable[..., Any], control_plane: Cluster, control_plane_namespace: str, tmp_path: Path
) -> None:
    kube, api = api_as("energy-cockroachdb-certificates")
    names = ("energy-cockroachdb-node", "energy-cockroachdb")
    control_plane.kubectl.apply(STATEFULSET | {"metadata": {"name": names[1], "namespace": control_plane_namespace}})

    def renewals() -> str | None:
        found = control_plane.kubectl.get("statefulset", names[1], namespace=control_plane_namespace)
        told: str | None = found["spec"]["template"]["metadata"].get("annotations", {}).get(kube.CERTIFICATES)
        return told

    asked, ready = api.ask, 3

    def with_pods(method: str, path: str, *rest: object) -> dict[str, Any]:
        """No pods run here, so what the controller would say of them is said for it."""
        found: dict[str, Any] = asked(method, path, *rest)
        if method == "GET" and "/statefulsets/" in path:
            found["status"] = {"readyReplicas": ready, "updatedReplicas": 3}
        return found

    api.ask = with_pods
    kube.fill_certificates(api, signed(tmp_path / "work", "first"), "energy-cockroachdb", "hosts", renew=False)
    kube.restart(api, *names)
    assert renewals() is None, "the nodes of a first install start with these"
    kube.fill_certificates(api, signed(tmp_path / "work", "second"), "energy-cockroachdb", "hosts", renew=True)
    ready = 2
    with pytest.raises(SystemExit, match="not restarting any"):
        kube.restart(api, *names)
    assert renewals() is None
    ready = 3
    kube.restart(api, *names)
    first = renewals()
    assert first
    kube.restart(api, *names)
    assert renewals() == first


def test_a_job_can_touch_no_secret_but_its_own(api_as: Callable[..., Any]) -> None:
    kube, api = api_as("energy-migrate")
    for secret in ("energy-cockroachdb-ca", "energy-cockroachdb-root"):
        with pytest.raises(HTTPError, match="403"):
            kube.fill_once(api, secret, kube.new_admin_key("admin-key"))


@pytest.mark.parametrize("name", ["database.sql", "settings.sql"])
def test_cockroachdb_can_parse_what_the_migration_job_sends_as_root(name: str) -> None:
    demand(("cockroach-grammar",))
    scripts = next(m["data"] for m in yaml.safe_load_all(template()) if m and m["metadata"]["name"] == "energy-scripts")
    answer = subprocess.run(
        [program("cockroach-grammar")], input=json.dumps([scripts[name]]), capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == [""]


STEPS = ["", "", "trust", "trust", "switch", "finish", ""]


@pytest.fixture
def machine() -> Iterator[Path]:
    """A folder that somebody who is not root may write to."""
    home = Path(tempfile.mkdtemp(prefix="energy-certificates-"))
    home.chmod(0o777)
    yield home
    shutil.rmtree(home)


def sign(machine: Path, step: str) -> Path:
    """What one Job leaves in /signed, for a user whom read-only files stop; then the Secret has what the Job would write."""
    shutil.rmtree(machine / "signed", ignore_errors=True)
    shutil.rmtree(machine / "next", ignore_errors=True)
    places = {"/signed": "signed", "/authority": "authority", "/tmp/next": "next", "/cockroach/cockroach": "cockroach"}  # noqa: S108 - names in the script
    text = (CHART / "files" / "certificates.sh").read_text()
    for path, name in places.items():
        text = re.sub(rf"(?<![\w$\"]){path}\b", str(machine / name), text).replace(f'"{path}', f'"{machine / name}')
    (machine / "certificates.sh").write_text(text)
    standin = Path("tools", "standin")
    (machine / standin).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / standin / "cockroach.py", machine / "standin.py")
    shutil.copy(ROOT / standin / "certificates.py", machine / standin)
    (machine / "cockroach").write_text(f'#!/bin/sh\nexec {sys.executable} {machine}/standin.py "$@"\n')
    (machine / "cockroach").chmod(0o755)
    nobody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    answer = subprocess.run(
        [*nobody, "sh", str(machine / "certificates.sh"), "365", "3650", step, "localhost"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    shutil.rmtree(machine / "authority", ignore_errors=True)
    shutil.copytree(machine / "signed" / "ca", machine / "authority")
    for file in (machine / "authority").iterdir():
        file.chmod(0o444)  # a Secret's volume is read-only
    return machine / "signed"


def trusts(bundle: Path, certificate: Path) -> bool:
    answer = subprocess.run(["openssl", "verify", "-CAfile", bundle, certificate], capture_output=True, check=False)
    return answer.returncode == 0


def test_through_every_step_of_a_new_authority_old_and_new_nodes_trust_each_other(machine: Path) -> None:
    before: Path | None = None
    for number, step in enumerate(STEPS):
        now = shutil.copytree(sign(machine, step), machine / f"kept-{number}") / "node"
        assert trusts(now / "ca.crt", now / "tls.crt"), step
        if before is not None:
            assert trusts(before / "ca.crt", now / "tls.crt"), f"old nodes don't trust new ones at {step!r}"
            assert trusts(now / "ca.crt", before / "tls.crt"), f"new nodes don't trust old ones at {step!r}"
        before = now
    first, last = machine / "kept-0" / "node", machine / f"kept-{len(STEPS) - 1}" / "node"
    assert not trusts(last / "ca.crt", first / "tls.crt"), "the old authority is out"
