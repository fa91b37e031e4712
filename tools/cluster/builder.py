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
_BASES = {"base": "python3,ca-certificates", "build-base": "python3,python3-venv,ca-certificates"}
_NEVER_READ = ("doc", "man", "info", "locale", "i18n/locales")
_CERTIFICATES = Path("/etc/ssl/certs")


class BuildError(RuntimeError):
    """An image can't be built; the message holds the builder's last words."""


def build_all() -> list[Path]:
    """Builds every image and writes its archive; quick when nothing has changed."""
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    build = _with_docker if _docker_works() else _with_buildah
    archives = []
    for name, dockerfile in IMAGES.items():
        started = time.monotonic()
        archive = ARCHIVES / f"{name}.tar"
        archive.unlink(missing_ok=True)
        build(f"{name}:{TAG}", dockerfile, archive)
        size_mb = archive.stat().st_size / 1e6
        report(f"{name}:{TAG} in {time.monotonic() - started:.0f} s, {size_mb:.0f} MB: {archive.relative_to(ROOT)}")
        archives.append(archive)
    return archives


def _docker_works() -> bool:
    return bool(shutil.which("docker")) and _succeeds("docker", "info")


def _with_docker(image: str, dockerfile: str, archive: Path) -> None:
    _run("docker", "build", "--quiet", "--tag", image, "--file", dockerfile, ".")
    _run("docker", "save", "--output", str(archive), image)


def _with_buildah(image: str, dockerfile: str, archive: Path) -> None:
    packages.ensure(packages.FOR_IMAGES)
    for base in _BASES:
        _make_base(base)
    _buildah(
        "build",
        "--layers",
        "--isolation=chroot",
        "--pull-never",
        f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",  # downloads pass whatever this machine's downloads pass
        f"--build-arg=PIP_CERT={_CERTIFICATES / 'ca-certificates.crt'}",
        "--build-arg=BASE=localhost/energy-base",
        "--build-arg=BUILD_BASE=localhost/energy-build-base",
        f"--tag={image}",
        f"--file={dockerfile}",
        ".",
    )
    _buildah("push", image, f"docker-archive:{archive}:{image}")


def _make_base(name: str) -> None:
    image = f"localhost/energy-{name}"
    if _succeeds(*_buildah_command("inspect", "--type=image", image)):
        return
    report(f"making {image} from Debian's packages")
    files = cache_dir() / f"{name}.tar"
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={_BASES[name]}",
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _NEVER_READ),
        "--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/*",
        _DEBIAN,
        str(files),
    )
    container = _buildah("from", "scratch").strip()
    _buildah("add", "--quiet", container, str(files), "/")
    _buildah("commit", "--quiet", "--rm", container, image)
    files.unlink()


def _buildah(*words: str) -> str:
    return _run(*_buildah_command(*words))


def _buildah_command(*words: str) -> list[str]:
    store = cache_dir() / "buildah"
    return ["buildah", f"--root={store}/storage", f"--runroot={store}/run", "--storage-driver=overlay", *words]


def _run(*command: str) -> str:
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{(answer.stdout + answer.stderr)[-3000:]}")
    return answer.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
