"""Finds the programs that a test cluster is made of, or builds them from pinned Go modules.

A test machine can't be asked to have Kubernetes installed, and downloading somebody's binaries would be one more
thing to trust. So every program is looked for where people keep such programs, and otherwise compiled from the
modules under `modules/`, once, into a cache that outlives the checkout. The order is: `KUBEBUILDER_ASSETS` (the envtest
convention, an explicit wish, so any version goes), `PATH` (only the pinned minor version), the cache, a build.

Knows nothing of what the programs are used for.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GO_MODULES = Path(__file__).parent / "modules"
REPORT_EVERY_S = 30.0
VERSION_TIMEOUT_S = 10.0

BARMAN_CLOUD = "0.13.0"
CLOUDNATIVEPG = "1.29.1"
KEDA = "2.21.0"
KUBERNETES = "1.34.4"
_KUBERNETES_LDFLAGS = " ".join(
    f"-X k8s.io/component-base/version.{field}"
    for field in (f"gitVersion=v{KUBERNETES}", "gitMajor=1", "gitMinor=34")  # else every client sees v0.0.0
)
_PROMETHEUS = "3.16.0"  # its Go module counts 0.316.0


class MissingProgramError(RuntimeError):
    """A program is nowhere to be found and can't be built here."""


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module under `modules/` and the programs that are built from it."""

    name: str
    version: str
    packages: dict[str, str]  # program → its main package
    ldflags: str = ""
    tags: str = ""  # parts that are left out or in
    version_args: tuple[str, ...] = ("--version",)  # none: a program of ours, which no PATH has
    only_asked_for: bool = False  # not one of those that `make cluster-tools` builds

    @property
    def minor_version(self) -> str:
        return ".".join(self.version.split(".")[:2]) + "."

    def cached_at(self) -> Path:
        digest = hashlib.sha256((self.ldflags + self.tags).encode())
        for source in sorted((GO_MODULES / self.name).iterdir()):
            digest.update(source.read_bytes())
        return cache_dir() / "bin" / f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


MODULES = (
    Module("etcd", "3.6.4", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Module(
        "kubernetes",
        KUBERNETES,
        {
            program: f"k8s.io/kubernetes/cmd/{program}"
            for program in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        },
        ldflags=_KUBERNETES_LDFLAGS,
    ),
    Module("pause", "1", {"pause": "."}, version_args=()),
    Module("helm-v4", "4.3.1", {"helm-v4": "helm.sh/helm/v4/cmd/helm"}),
    Module("helm-v3", "3.22.0", {"helm-v3": "helm.sh/helm/v3/cmd/helm"}),
    Module(
        "kubeconform",
        "0.8.0",
        {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
        version_args=("-v",),
    ),
    Module("coredns", "1.15.0", {"coredns": "."}, version_args=("-version",)),
    Module("metrics-server", "0.9.0", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}),
    Module("kube-router", "2.1.0", {"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"}),
    Module("cockroach-grammar", "0.25.2", {"cockroach-grammar": "."}, version_args=()),
    Module(
        "kube-score",
        "1.20.0",
        {"kube-score": "github.com/zegl/kube-score/cmd/kube-score"},
        version_args=("version",),
    ),
    # Of its service discoveries only the one for Kubernetes: the rest are the clients of twenty clouds. Without its web page.
    Module(
        "prometheus",
        _PROMETHEUS,
        {name: f"github.com/prometheus/prometheus/cmd/{name}" for name in ("promtool", "prometheus")},
        ldflags=f"-X github.com/prometheus/common/version.Version={_PROMETHEUS}",
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
    Module("helm-docs", "1.14.2", {"helm-docs": "github.com/norwoodj/helm-docs/cmd/helm-docs"}),
    Module(
        "keda",
        KEDA,
        {
            "keda": "github.com/kedacore/keda/v2/cmd/operator",
            "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
            "keda-cron": ".",
        },
        ldflags=f"-X github.com/kedacore/keda/v2/version.Version={KEDA}",
        version_args=(),
        only_asked_for=True,
    ),
    Module(
        "cloudnative-pg",
        CLOUDNATIVEPG,
        {"manager": "github.com/cloudnative-pg/cloudnative-pg/cmd/manager"},
        ldflags=f"-X github.com/cloudnative-pg/cloudnative-pg/pkg/versions.buildVersion={CLOUDNATIVEPG}",
        version_args=(),
        only_asked_for=True,
    ),
    Module(
        "kind",
        "0.33.0",  # later ones drop version 1 of the cgroups
        {"kind": "sigs.k8s.io/kind", "kubeadm": "k8s.io/kubernetes/cmd/kubeadm"},
        ldflags=_KUBERNETES_LDFLAGS,
        only_asked_for=True,
    ),
    Module(
        "barman-cloud",
        BARMAN_CLOUD,
        {"barman-cloud": "github.com/cloudnative-pg/plugin-barman-cloud/cmd/manager"},
        version_args=(),
        only_asked_for=True,
    ),
    Module(
        "s3-server",
        "1.8.0",
        {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
        version_args=(),
        only_asked_for=True,
    ),
    Module("slow-start", "1", {"slow-start": "."}, version_args=(), only_asked_for=True),
)


def cache_dir() -> Path:
    """Where everything that is expensive to make outlives a checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "energy-cluster"


def program(name: str) -> Path:
    """The path of a program, built first when it has to be."""
    return found(name) or _built(_module_of(name)) / name


def found(name: str) -> Path | None:
    """The path of a program that is there already."""
    module = _module_of(name)
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    on_path = shutil.which(name)
    if on_path and module.version_args and _version_fits(Path(on_path), module):
        return Path(on_path)
    cached = module.cached_at() / name
    return cached if cached.is_file() else None


def all_programs() -> Iterator[tuple[str, Module]]:
    for module in MODULES:
        for name in module.packages:
            yield name, module


def module_files(name: str, path: str) -> Path:
    """The folder of a Go module that a tool is built from, for what is in the module and in none of its programs."""
    _go(name, "mod", "download", path)
    return Path(_go(name, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", path).strip())


def _go(name: str, *words: str) -> str:
    answer = subprocess.run(["go", *words], cwd=GO_MODULES / name, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise MissingProgramError(f"go {' '.join(words)} failed:\n{answer.stderr[-2000:]}")
    return answer.stdout


def missing(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that would have to be built."""
    return [name for name in names if found(name) is None]


def _module_of(name: str) -> Module:
    for candidate, module in all_programs():
        if candidate == name:
            return module
    raise MissingProgramError(f"{name} is none of the pinned tools: {', '.join(n for n, _ in all_programs())}")


def _version_fits(path: Path, module: Module) -> bool:
    """A kubelet of another minor version would be a different test; so would somebody's wrapper script."""
    try:
        answer = subprocess.run(
            [path, *module.version_args], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and module.minor_version in answer.stdout + answer.stderr


def _built(module: Module) -> Path:
    target = module.cached_at()
    with _only_one_build():
        if target.is_dir():  # somebody else built it while we waited
            return target
        unfinished = target.with_name(target.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _compile(module, unfinished)
        unfinished.rename(target)
    return target


@contextmanager
def _only_one_build() -> Iterator[None]:
    (cache_dir() / "bin").mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(module: Module, into: Path) -> None:
    if not shutil.which("go"):
        raise MissingProgramError(
            f"{', '.join(module.packages)} {module.version}: not in KUBEBUILDER_ASSETS, PATH or {cache_dir()},"
            " and there is no Go here to build it. Install Go 1.26 or newer, or put the program on the PATH."
        )
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
    started = time.monotonic()
    report(f"building {module.name} {module.version} ({', '.join(module.packages)})")
    for name, package in module.packages.items():
        _go_build(module, package, into / name, environment, started)
    report(f"built {module.name} in {time.monotonic() - started:.0f} s")


def _go_build(module: Module, package: str, output: Path, environment: dict[str, str], started: float) -> None:
    ldflags = f"-s -w {module.ldflags}"
    command = ["go", "build", "-v", "-tags", module.tags, "-ldflags", ldflags, "-o", str(output), package]
    said: list[str] = []
    reported = started
    with subprocess.Popen(
        command, cwd=GO_MODULES / module.name, env=environment, stderr=subprocess.PIPE, text=True
    ) as compiler:
        assert compiler.stderr is not None
        for line in compiler.stderr:  # -v says each package as it is compiled: that's the progress
            said.append(line)
            if time.monotonic() - reported > REPORT_EVERY_S:
                reported = time.monotonic()
                report(f"  {reported - started:.0f} s, {output.name}: {len(said)} packages, now {line.strip()}")
    if compiler.returncode != 0:
        raise MissingProgramError(f"go build {package} failed:\n{''.join(said[-30:])}")


def report(line: str) -> None:
    """Progress goes to where a person looks while pytest or make holds standard output."""
    print(line, file=sys.stderr, flush=True)
