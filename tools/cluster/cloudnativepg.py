"""CloudNativePG on a test cluster: its operator from the pinned Go module, PostgreSQL from Debian's packages, no registry.

The manifests come out of the module as well, so nothing of CloudNativePG is copied here. Both archives are made once, into the
cache that outlives a checkout.
"""

from pathlib import Path

from . import builder, packages
from .binaries import CLOUDNATIVEPG, cache_dir, module_files, program, report
from .cluster import Cluster

NAMESPACE = "cnpg-system"
OPERATOR = "deployment/cnpg-controller-manager"
POSTGRES = {
    "repository": "cnpg-postgres",
    "tag": "17",
    "pullPolicy": "Never",
}  # the tag is how the operator learns the version
_PUBLISHED = f"ghcr.io/cloudnative-pg/cloudnative-pg:{CLOUDNATIVEPG}"
_BUILT = "docker.io/library/cloudnative-pg:dev"
_BIN = "/usr/lib/postgresql/17/bin"
_POSTGRES_UID = "26"  # CloudNativePG's choice
_NEVER_READ = ("doc", "man", "info")
_LEFT_OUT = (  # of 468 MB: the compiler of expressions and what it needs, and other people's languages
    "usr/lib/x86_64-linux-gnu/libLLVM*", "usr/lib/llvm-*", "usr/lib/postgresql/17/lib/bitcode",
    "usr/lib/postgresql/17/lib/llvmjit*", "usr/share/i18n", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt",
)  # fmt: skip


def install(cluster: Cluster) -> None:
    """Two replicas of the operator: with one, on the node that is lost, nobody promotes a standby until that pod has moved."""
    for archive in (operator_archive(), postgres_archive()):
        cluster.load_image(archive)
    module = module_files("cloudnative-pg", "github.com/cloudnative-pg/cloudnative-pg")
    manifests = (module / "releases" / f"cnpg-{CLOUDNATIVEPG}.yaml").read_text()
    manifests = manifests.replace(_PUBLISHED, _BUILT).replace("imagePullPolicy: Always", "imagePullPolicy: Never")
    manifests = manifests.replace("cpu: 100m\n            memory: 200Mi", "memory: 200Mi")  # a limit would be measured
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=manifests)
    cluster.kubectl("scale", OPERATOR, "-n", NAMESPACE, "--replicas=2")
    cluster.kubectl.rollout(OPERATOR, namespace=NAMESPACE)


def operator_archive() -> Path:
    """The operator alone in an image; it looks for itself in `operator/` beside where it starts."""
    binary = program("manager")
    archive = cache_dir() / f"{binary.parent.name}.tar"
    if not archive.exists():
        packages.ensure(packages.FOR_IMAGES)
        container = builder.buildah("from", "scratch").strip()
        builder.buildah("copy", "--quiet", "--chmod=755", container, str(binary), "/manager")
        builder.buildah("copy", "--quiet", "--chmod=755", container, str(binary), "/operator/manager_amd64")
        settings = ("--user=65532:65532", '--entrypoint=["/manager"]', "--workingdir=/")
        commit(container, settings, _BUILT, archive)
    return archive


def postgres_archive() -> Path:
    archive = cache_dir() / "cnpg-postgres-17.tar"
    if not archive.exists():
        report("making PostgreSQL's image from Debian's packages")
        hook = (
            '--essential-hook=mkdir -p "$1/etc/postgresql-common"; '
            'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
        )
        owned = f"usermod -u {_POSTGRES_UID} postgres; chown -R {_POSTGRES_UID} /var/lib/postgresql /var/run/postgresql"
        container = from_debian("postgresql-17", (hook, f"--customize-hook=chroot \"$1\" sh -c '{owned}'"))
        settings = (f"--user={_POSTGRES_UID}", f"--env=PATH={_BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "--env=LANG=C.UTF-8")
        commit(container, settings, f"docker.io/library/{POSTGRES['repository']}:{POSTGRES['tag']}", archive)
    return archive


def from_debian(package: str, words: tuple[str, ...] = ()) -> str:
    """A container with one of Debian's packages, what it needs, and nothing that only people read."""
    packages.ensure(packages.FOR_IMAGES)
    files = cache_dir() / f"{package.partition(',')[0]}.files.tar"
    builder.run(
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={package},ca-certificates",
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _NEVER_READ), *words,
        f"--customize-hook=cd $1 && rm -rf {' '.join(_LEFT_OUT)}", "trixie", str(files),
    )  # fmt: skip
    container = builder.buildah("from", "scratch").strip()
    builder.buildah("add", "--quiet", container, str(files), "/")
    files.unlink()
    return container


def commit(container: str, settings: tuple[str, ...], name: str, archive: Path) -> None:
    builder.buildah("config", *settings, container)
    local = f"localhost/{name.rpartition('/')[2]}"
    builder.buildah("commit", "--quiet", "--rm", container, local)
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    builder.buildah("push", local, f"docker-archive:{unfinished}:{name}")
    unfinished.rename(archive)
