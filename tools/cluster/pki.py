"""The certificates of one cluster, made anew for each run.

Two authorities, because the API server trusts what each signs for a different thing: the cluster's own says who
somebody is, the front proxy's says that whoever forwards a request may speak for somebody else.
"""

import base64
import json
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class KeyPair:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority whose files lie in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.certificate = folder / f"{name}.crt"
        self._ca.cert_pem.write_to_path(str(self.certificate))

    def issue(self, name: str, *hosts: str, user: str | None = None, group: str | None = None) -> KeyPair:
        """A certificate for hosts, for a user, or for both."""
        hosts = hosts or (f"{name}.client",)  # Go refuses a certificate whose list of names is critical and empty
        leaf = self._ca.issue_cert(*hosts, common_name=user or name, organization_name=group)
        pair = KeyPair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        leaf.cert_chain_pems[0].write_to_path(str(pair.certificate))
        leaf.private_key_pem.write_to_path(str(pair.key))
        pair.key.chmod(0o600)
        return pair

    def trusting(self, client: KeyPair) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.load_cert_chain(client.certificate, client.key)
        return context

    def kubeconfig(self, name: str, server: str, user: str, group: str | None = None) -> Path:
        """A kubeconfig that stands alone: it can be copied anywhere."""
        pair = self.issue(name, user=user, group=group)
        path = self._folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "energy",
                    "clusters": [
                        {
                            "name": "energy",
                            "cluster": {"server": server, "certificate-authority-data": _base64(self.certificate)},
                        }
                    ],
                    "users": [
                        {
                            "name": user,
                            "user": {
                                "client-certificate-data": _base64(pair.certificate),
                                "client-key-data": _base64(pair.key),
                            },
                        }
                    ],
                    "contexts": [{"name": "energy", "context": {"cluster": "energy", "user": user}}],
                }
            )
        )
        return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
