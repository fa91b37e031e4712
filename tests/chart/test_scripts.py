"""The chart's own scripts against a real API server and CockroachDB's real parser."""

import base64
import importlib.util
import json
import subprocess
from collections.abc import Callable
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
from tools.render import CHART, template

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
    rendered = template(f"--namespace={control_plane_namespace}", "--no-hooks", "--set=operator.crd.install=false")
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
    api_as: Callable[..., Any], control_plane: Cluster, control_plane_namespace: str
) -> None:
    kube, api = api_as("energy-migrate")
    kube.make_admin_key(api, "energy-bootstrap", "admin-key")
    first = data_of(control_plane, control_plane_namespace, "energy-bootstrap")
    key_id, secret = base64.b64decode(first["admin-key"]).decode().split(".")
    assert key_id == "bootstrap"
    assert len(secret) >= 40
    kube.make_admin_key(api, "energy-bootstrap", "admin-key")
    assert data_of(control_plane, control_plane_namespace, "energy-bootstrap") == first


def signed(folder: Path, mark: str) -> Path:
    for party in PARTIES:
        (folder / party).mkdir(exist_ok=True)
        (folder / party / "tls.crt").write_text(f"{mark} {party}")
    return folder


def test_certificates_are_filled_once_renewed_when_asked_and_anew_for_new_hosts(
    api_as: Callable[..., Any], control_plane: Cluster, control_plane_namespace: str, tmp_path: Path
) -> None:
    kube, api = api_as("energy-cockroachdb-certificates")
    folder = tmp_path / "work"
    folder.mkdir()

    def run(mark: str, hosts: str, *, renew: bool = False) -> list[str]:
        kube.fill_certificates(api, signed(folder, mark), "energy-cockroachdb", hosts, renew=renew)
        found = (data_of(control_plane, control_plane_namespace, f"energy-cockroachdb-{party}") for party in PARTIES)
        return [base64.b64decode(data["tls.crt"]).decode().split()[0] for data in found]

    assert run("first", "hosts") == ["first", "first", "first"]
    assert run("again", "hosts") == ["first", "first", "first"]
    assert run("renewed", "hosts", renew=True) == ["first", "renewed", "renewed"], "the authority stays"
    assert run("after", "hosts") == ["first", "renewed", "renewed"]
    assert run("moved", "other hosts") == ["first", "moved", "moved"]


def test_a_job_can_touch_no_secret_but_its_own(api_as: Callable[..., Any]) -> None:
    kube, api = api_as("energy-migrate")
    for secret in ("energy-cockroachdb-ca", "energy-cockroachdb-root"):
        with pytest.raises(HTTPError, match="403"):
            kube.make_admin_key(api, secret, "admin-key")


@pytest.mark.parametrize("name", ["database.sql", "settings.sql"])
def test_cockroachdb_can_parse_what_the_migration_job_sends_as_root(name: str) -> None:
    demand(("cockroach-grammar",))
    scripts = next(m["data"] for m in yaml.safe_load_all(template()) if m and m["metadata"]["name"] == "energy-scripts")
    answer = subprocess.run(
        [program("cockroach-grammar")], input=json.dumps([scripts[name]]), capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == [""]
