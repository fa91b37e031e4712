"""The node image that kind would pull (kindest/node), from kind's own files, Debian's packages and compiled programs.

kind makes of a node image one container a node, with systemd, containerd and kubelet in it. The images of the control
plane are in it too, as every name that kubeadm asks for: a program, alone or with the few tools it calls.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from tools.cluster.binaries import KUBERNETES, cache_dir, module_files, program, report
from tools.cluster.images import write_archive
from tools.cluster.packages import CNI_PLUGINS

NAME = f"energy-kind-node:v{KUBERNETES}"
METRICS_SERVER_IMAGE = "energy-metrics-server:1"
ROUTER_IMAGE = "energy-kube-router:1"
DEBIAN = "bookworm"
FILES = Path(__file__).parent / "files"
_NODE = (
    "systemd,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,libseccomp2,bash,ca-certificates,jq,procps,"
    "containerd,runc,containernetworking-plugins"
)
_TOOLS = "iptables,iproute2,conntrack,ipset,kmod"
_ALONE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "coredns")
# What kind's own Dockerfile does to Debian's systemd, in a root that is $1.
_SETTLE = r"""
set -eu
cd "$1"
rm -f lib/systemd/system/multi-user.target.wants/* etc/systemd/system/*.wants/* lib/systemd/system/local-fs.target.wants/*
rm -f lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl*
rm -f lib/systemd/system/basic.target.wants/* lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
echo ReadKMsg=no >> etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd sbin/init
for name in containerd ctr containerd-shim-runc-v2; do ln -sf /usr/bin/$name usr/local/bin/$name; done
mkdir -p usr/local/sbin opt/cni etc/kubernetes/manifests kind/manifests etc/cni/net.d
ln -sf /usr/sbin/runc usr/local/sbin/runc
ln -sf CNI_PLUGINS opt/cni/bin
chmod -R go+rX,u+rwX kind usr/local && chmod 755 kind/bin/* usr/local/bin/*
chroot . systemctl enable kubelet containerd undo-mount-hacks
chroot . systemctl mask systemd-binfmt
chroot . ctr oci spec > spec.json
chroot . jq '.hooks.createContainer += [{"path": "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' spec.json \
  > etc/containerd/cri-base.json
rm spec.json
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' etc/containerd/config.toml
rm -rf var/lib/apt/lists/* var/cache/apt/* usr/share/doc usr/share/man
"""


def tree() -> Path:
    """The files of a node as an archive; made once for what they are made of."""
    ours = [_NODE, _SETTLE, *(file.read_text() for file in sorted(FILES.iterdir()))]
    made_of = hashlib.sha256("".join(ours).encode()).hexdigest()[:12]
    archive = cache_dir() / f"kind-node-{program('kubeadm').parent.name}-{program('kubelet').parent.name}-{made_of}.tar"
    if not archive.exists():
        report("making a node's files from Debian's packages and kind's")
        base = module_files("kind", "sigs.k8s.io/kind") / "images/base/files"
        with tempfile.TemporaryDirectory() as given:
            staged = Path(given)
            for folder in ("etc", "kind", "usr"):
                shutil.copytree(base / folder, staged / folder)
            for name in ("kubeadm", "kubelet", "kubectl"):
                (staged / "usr/bin").mkdir(exist_ok=True)
                shutil.copy(program(name), staged / "usr/bin" / name)
            (staged / "kind/version").write_text(f"v{KUBERNETES}")
            shutil.copytree(FILES, staged / "kind/manifests")
            (staged / "etc/cni/net.d").mkdir(parents=True)
            shutil.copy(FILES / "pods.conflist", staged / "etc/cni/net.d/10-kuberouter.conflist")
            settle = staged.with_name(f"{staged.name}.sh")
            settle.write_text(_SETTLE.replace("CNI_PLUGINS", str(CNI_PLUGINS)))
            hooks = [f"sync-in {staged} /", f'sh {settle} "$1"']
            _debian(_NODE, archive, *hooks)
            settle.unlink()
    return archive


def _debian(packages: str, archive: Path, *hooks: str) -> None:
    unfinished = archive.with_suffix(".unfinished.tar")
    words = [f"--customize-hook={hook}" for hook in hooks]
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--skip=output/dev",
        f"--include={packages}",
        *words,
        DEBIAN,
        str(unfinished),
    )
    unfinished.rename(archive)


def tools_tree() -> Path:
    """What kube-proxy and kube-router call: iptables and its like."""
    archive = cache_dir() / "kind-tools.tar"
    if not archive.exists():
        report("making the tools of kube-proxy and kube-router from Debian's packages")
        _debian(
            _TOOLS,
            archive,
            "rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/* $1/usr/share/doc $1/usr/share/man",
        )
    return archive


def archives(folder: Path) -> list[Path]:
    """Every image that a cluster of kind begins with, as archives."""
    asked = run(str(program("kubeadm")), "config", "images", "list", f"--kubernetes-version=v{KUBERNETES}").split()
    made = []
    for number, name in enumerate([*asked, "registry.k8s.io/pause:3.10", METRICS_SERVER_IMAGE, ROUTER_IMAGE]):
        short = name.rpartition("/")[2].partition(":")[0].removeprefix("energy-")
        below = () if short in (*_ALONE, "pause", "metrics-server") else (tools_tree(),)
        archive = folder / f"{number}-{short}.tar"
        write_archive(archive, name, program(short), user="0:0", folder="usr/local/bin", below=below)
        made.append(archive)
    return made


def build() -> None:
    """Builds the image in the Docker that DOCKER_HOST names."""
    like = ["--change=ENV container=docker", '--change=ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]']
    run("docker", "import", *like, str(tree()), "energy-kind-base:1")
    started = ["--detach", "--network=none", "--security-opt=seccomp=unconfined", "--entrypoint=/usr/bin/containerd"]
    container = run("docker", "run", *started, "energy-kind-base:1").strip()
    try:
        ctr = ["docker", "exec", "--interactive", container, "ctr", "--connect-timeout=30s", "--namespace=k8s.io"]
        with tempfile.TemporaryDirectory() as folder:
            for archive in archives(Path(folder)):
                with archive.open("rb") as given:
                    run(*ctr, "images", "import", "--no-unpack", "--digests", "-", stdin=given)
        run("docker", "kill", container)
        run("docker", "commit", *like, container, NAME)
    finally:
        run("docker", "rm", "--force", container)


def metrics_server() -> str:
    """metrics-server's own manifests, with the image that the nodes have."""
    base = module_files("metrics-server", "sigs.k8s.io/metrics-server") / "manifests/base"
    manifest = run(str(program("kubectl")), "kustomize", str(base))
    return manifest.replace("gcr.io/k8s-staging-metrics-server/metrics-server:master", METRICS_SERVER_IMAGE)


def run(*command: str, stdin: IO[bytes] | None = None) -> str:
    answer = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])}… failed:\n{(answer.stdout + answer.stderr)[-2000:]}")
    return answer.stdout
