"""The control plane: etcd, the API server, the controllers and, when there are nodes, the scheduler.

Everything listens on one address with ports that the system chose, so that several control planes run side by side.
"""

import httpx

from tools.local.waiting import free_port, until

from .binaries import program
from .pki import MASTERS, Authority
from .run import Process, Run

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # the API server's own Service address: pods verify its certificate for it
PODS = "10.244.0.0/16"
PORT = 6443
READY_TIMEOUT_S = 90.0


class ControlPlane:
    """The programs of one control plane and their certificates."""

    def __init__(self, run: Run, address: str = "127.0.0.1") -> None:
        self._run = run
        self.address = address
        self._etcd_port = free_port(address)
        # With nodes the address is the cluster's own, and the port is the one that NetworkPolicies of charts name.
        self._port = free_port(address) if self._on_loopback else PORT
        self.server = f"https://{address}:{self._port}"
        self.authority = Authority(run.folder / "pki", "ca")
        self._front = Authority(run.folder / "pki", "front-proxy-ca")
        self._serving = self.authority.issue(
            "apiserver", address, "localhost", FIRST_SERVICE, "kubernetes.default.svc", "kubernetes.default"
        )
        self._to_kubelets = self.authority.issue("to-kubelets", user="kube-apiserver-kubelet-client", group=MASTERS)
        self._to_extensions = self._front.issue("to-extensions", user="front-proxy-client")
        self._tokens = self.authority.issue("service-accounts")
        self._admin = self.authority.issue("admin-client", user="admin", group=MASTERS)
        self.kubeconfig = self.authority.kubeconfig("admin", self.server, "admin", MASTERS)
        self.apiserver: Process | None = None

    def start(self, *, controllers: bool, scheduler: bool) -> None:
        self._start_etcd()
        self.start_apiserver()
        if controllers:
            self._start_controllers()
        if scheduler:
            self._start_scheduler()
        if controllers:
            until(self._has_default_account, "the default ServiceAccount exists", timeout_s=READY_TIMEOUT_S)

    def start_apiserver(self) -> None:
        assert self.apiserver is None, "the API server runs already"
        self.apiserver = self._run.start("kube-apiserver", [program("kube-apiserver"), *self._apiserver_flags()])
        until(self._is_ready, "the API server is ready", timeout_s=READY_TIMEOUT_S)

    def stop_apiserver(self) -> None:
        """Kills it: the harder fault, and asked politely it waits a minute for watches to end."""
        assert self.apiserver is not None, "the API server doesn't run"
        self.apiserver.kill()  # returns when it has ended, so its port is free
        self.apiserver = None

    def _start_etcd(self) -> None:
        client, peer = self._etcd, f"http://{self.address}:{free_port(self.address)}"
        self._run.start(
            "etcd",
            [
                program("etcd"),
                f"--data-dir={self._run.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",  # this data dies with the run
                "--log-level=warn",
            ],
        )

    def _apiserver_flags(self) -> list[str]:
        return [
            f"--etcd-servers={self._etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--endpoint-reconciler-type={'none' if self._on_loopback else 'lease'}",  # endpoints may not be loopback
            f"--secure-port={self._port}",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged",
            f"--service-cluster-ip-range={SERVICES}",
            f"--service-account-issuer={self.server}",
            f"--service-account-key-file={self._tokens.key}",
            f"--service-account-signing-key-file={self._tokens.key}",
            f"--kubelet-client-certificate={self._to_kubelets.certificate}",
            f"--kubelet-client-key={self._to_kubelets.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={self._front.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={self._to_extensions.certificate}",
            f"--proxy-client-key-file={self._to_extensions.key}",
            "--enable-aggregator-routing",
            "--default-not-ready-toleration-seconds=10",  # pods leave a dead node in seconds, not in five minutes
            "--default-unreachable-toleration-seconds=10",
        ]

    def _start_controllers(self) -> None:
        kubeconfig = self.authority.kubeconfig("controllers", self.server, "system:kube-controller-manager")
        self._run.start(
            "kube-controller-manager",
            [
                program("kube-controller-manager"),
                f"--kubeconfig={kubeconfig}",
                f"--root-ca-file={self.authority.certificate}",
                f"--service-account-private-key-file={self._tokens.key}",
                "--use-service-account-credentials",
                "--leader-elect=false",
                f"--bind-address={self.address}",
                f"--secure-port={free_port(self.address)}",
                "--node-monitor-period=2s",
                "--node-monitor-grace-period=16s",
                # A test of autoscaling should not wait for the pace of production.
                "--horizontal-pod-autoscaler-sync-period=5s",
                "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
                "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
                "--horizontal-pod-autoscaler-downscale-stabilization=15s",
            ],
        )

    def _start_scheduler(self) -> None:
        kubeconfig = self.authority.kubeconfig("scheduler", self.server, "system:kube-scheduler")
        self._run.start(
            "kube-scheduler",
            [
                program("kube-scheduler"),
                f"--kubeconfig={kubeconfig}",
                "--leader-elect=false",
                f"--bind-address={self.address}",
                f"--secure-port={free_port(self.address)}",
            ],
        )

    @property
    def _on_loopback(self) -> bool:
        return self.address.startswith("127.")

    @property
    def _etcd(self) -> str:
        return f"http://{self.address}:{self._etcd_port}"

    def _is_ready(self) -> bool:
        assert self.apiserver is not None
        if not self.apiserver.alive():
            raise RuntimeError(f"kube-apiserver ended:\n{self.apiserver.last_words()}")
        return self._status_of("/readyz") == httpx.codes.OK

    def _has_default_account(self) -> bool:
        return self._status_of("/api/v1/namespaces/default/serviceaccounts/default") == httpx.codes.OK

    def _status_of(self, path: str) -> int | None:
        try:
            with httpx.Client(verify=self.authority.trusting(self._admin), trust_env=False) as client:
                return client.get(self.server + path).status_code
        except httpx.TransportError:
            return None
