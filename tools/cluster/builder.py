"""Builds the product's images as archive files, with or without Docker.

Docker builds them where there is one. Elsewhere buildah does, from the same Dockerfiles, on a base that mmdebstrap
makes of Debian packages from wherever this machine gets its own: the usual base would have to be pulled from a
registry.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from . import packages
from .binaries import cache_dir, report

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ROOT / "build" / "images"
IMAGES = {"energy": "app/Dockerfile", "energy-prescaler": "operator/Dockerfile"}
TAG = "dev"
_DEBIAN = "bookworm"
BASE = "localhost/energy-build-base"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
# What an image is made of: the last commit that changed one of these is its revision, and its time the image's.
_INPUTS = ("app", "operator", "requirements", "tools/rootfs.py", ".dockerignore")
_NEVER_READ = ("doc", "man", "info", "locale", "i18n/locales")
_CERTIFICATES = Path("/etc/ssl/certs")


class BuildError(RuntimeError):
    """An image can't be built; the message holds the builder's last words."""


def build_all() -> list[Path]:
    """Builds every image and writes its archive; quick when nothing has changed."""
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    archives = []
    for name, dockerfile in IMAGES.items():
        started = time.monotonic()
        archive = ARCHIVES / f"{name}.tar"
        build(f"{name}:{TAG}", dockerfile, archive)
        size_mb = archive.stat().st_size / 1e6
        report(f"{name}:{TAG} in {time.monotonic() - started:.0f} s, {size_mb:.0f} MB: {archive.relative_to(ROOT)}")
        archives.append(archive)
    return archives


def build(image: str, dockerfile: str, archive: Path, *, anew: bool = False) -> None:
    """Builds one image; `anew`: as if nothing of it had been built before."""
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    more = ["--no-cache"] if anew else []
    (_with_docker if _builder() == "docker" else _with_buildah)(image, dockerfile, unfinished, more)
    unfinished.rename(archive)  # whoever reads it meanwhile has the one before


def _builder() -> str:
    """IMAGE_BUILDER, for a Docker that reaches no registry; else Docker where one answers."""
    docker_answers = bool(shutil.which("docker")) and _succeeds("docker", "info")
    return os.environ.get("IMAGE_BUILDER") or ("docker" if docker_answers else "buildah")


def _with_docker(image: str, dockerfile: str, archive: Path, more: list[str]) -> None:
    run("docker", "build", "--quiet", *more, *_arguments(), "--tag", image, "--file", dockerfile, ".")
    run("docker", "save", "--output", str(archive), image)


def _with_buildah(image: str, dockerfile: str, archive: Path, more: list[str]) -> None:
    packages.ensure(packages.FOR_IMAGES)
    _make_base()
    buildah(
        "build",
        "--layers",
        *more,
        "--identity-label=false",  # which program built it is no part of an image
        "--isolation=chroot",
        "--pull-never",
        f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",  # downloads pass whatever this machine's downloads pass
        f"--build-arg=PIP_CERT={_CERTIFICATES / 'ca-certificates.crt'}",
        f"--build-arg=BASE={BASE}",
        *_arguments(),
        f"--timestamp={_last_change()[1]}",
        f"--tag={image}",
        f"--file={dockerfile}",
        ".",
    )
    buildah("push", image, f"docker-archive:{archive}:{image}")


def _arguments() -> list[str]:
    revision, seconds = _last_change()
    return [f"--build-arg=REVISION={revision}", f"--build-arg=SOURCE_DATE_EPOCH={seconds}"]


def _last_change() -> tuple[str, str]:
    """The commit that the images' digests depend on, and its time; outside a repository neither is known."""
    asks = ["git", "log", "-1", "--format=%H %ct", "--", *_INPUTS]
    answer = subprocess.run(asks, cwd=ROOT, capture_output=True, text=True, check=False)
    revision, _, seconds = answer.stdout.strip().partition(" ")
    return (revision, seconds) if seconds else ("unknown", "0")


def _make_base() -> None:
    if _succeeds(*_buildah_command("inspect", "--type=image", BASE)):
        return
    report(f"making {BASE} from Debian's packages")
    files = cache_dir() / "build-base.tar"
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={_BASE_PACKAGES}",
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _NEVER_READ),
        "--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/*",
        _DEBIAN,
        str(files),
    )
    container = buildah("from", "scratch").strip()
    buildah("add", "--quiet", container, str(files), "/")
    buildah("commit", "--quiet", "--rm", container, BASE)
    files.unlink()


def buildah(*words: str) -> str:
    return run(*_buildah_command(*words))


def _buildah_command(*words: str) -> list[str]:
    store = cache_dir() / "buildah"
    return ["buildah", f"--root={store}/storage", f"--runroot={store}/run", "--storage-driver=overlay", *words]


def run(*command: str) -> str:
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{(answer.stdout + answer.stderr)[-3000:]}")
    return answer.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
