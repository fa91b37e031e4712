"""CloudNativePG's backups on a test cluster: the Barman Cloud plugin, and an object store that speaks S3 on the host.

The plugin's manifests come out of its Go module; where they ask cert-manager for two certificates, which isn't here, two are
made. The store is a folder behind a gateway: what is in it can be looked at.
"""

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from energy.server import listening

from . import builder, cloudnativepg
from .binaries import cache_dir, module_files, program, report
from .cluster import Cluster
from .kubectl import Manifest
from .network import HOST
from .pki import Authority

BUCKET = "energy"
CREDENTIALS = {"id": "energy", "key": "energy-secret"}
_PLUGIN = "deployment/barman-cloud"
_IMAGE = "docker.io/library/barman-cloud:dev"


def install(cluster: Cluster, folder: Path) -> None:
    """Into the namespace of CloudNativePG's operator, which has to be there."""
    cluster.load_image(archive())
    module = module_files("barman-cloud", "github.com/cloudnative-pg/plugin-barman-cloud")
    found = yaml.safe_load_all((module / "manifest.yaml").read_text())
    manifests = [_ours(manifest) for manifest in found if not manifest["apiVersion"].startswith("cert-manager.io/")]
    for party, host in (("server", "barman-cloud"), ("client", "barman-cloud-client")):
        manifests.append(_certificate(Authority(folder, f"{party}-authority"), party, host))
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(manifests))
    cluster.kubectl.rollout(_PLUGIN, namespace=cloudnativepg.NAMESPACE)


def _ours(manifest: Manifest) -> Manifest:
    if manifest["kind"] == "Secret":
        manifest["data"] = {"SIDECAR_IMAGE": base64.b64encode(_IMAGE.encode()).decode()}
    if manifest["kind"] == "Deployment":
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        container |= {"image": _IMAGE, "imagePullPolicy": "Never"}
    return manifest


def _certificate(authority: Authority, party: str, host: str) -> Manifest:
    pair = authority.issue(party, host)
    chain = pair.certificate.read_text() + authority.certificate.read_text()
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": f"barman-cloud-{party}-tls", "namespace": cloudnativepg.NAMESPACE},
        "stringData": {"tls.crt": chain, "tls.key": pair.key.read_text(), "ca.crt": authority.certificate.read_text()},
    }  # fmt: skip


def archive() -> Path:
    """The plugin, which is also what runs beside each instance, with Debian's barman."""
    binary = program("barman-cloud")
    made = cache_dir() / f"{binary.parent.name}.tar"
    if not made.exists():
        report("making the image of the Barman Cloud plugin from Debian's packages")
        container = cloudnativepg.from_debian("barman-cli-cloud,python3-boto3")
        builder.buildah("copy", "--quiet", "--chmod=755", container, str(binary), "/manager")
        cloudnativepg.commit(container, ("--user=26:26", '--entrypoint=["/manager"]'), _IMAGE, made)
    return made


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """An empty bucket, and its address for pods."""
    (folder / "objects" / BUCKET).mkdir(parents=True)
    with listening(HOST, 0) as free:
        port = int(free.getsockname()[1])
    words = [str(program("versitygw")), "--port", f"{HOST}:{port}", "posix", str(folder / "objects")]
    settings = {"ROOT_ACCESS_KEY": CREDENTIALS["id"], "ROOT_SECRET_KEY": CREDENTIALS["key"]}
    with (folder / "objects.log").open("wb") as log, subprocess.Popen(
        words, env=os.environ | settings, stdout=log, stderr=log
    ) as process:  # fmt: skip
        try:
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
