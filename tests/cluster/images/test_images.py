"""The product's images: small, of known parts, the same every time. Read from the archives that `make images` writes."""

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.fixtures import product_archives
from energy import __version__ as service_version
from prescaler import __version__ as operator_version
from tools.cluster.builder import ARCHIVES, BASE, IMAGES, ROOT, build, buildah, run
from tools.sbom import Image, bill_of, text_of

pytestmark = pytest.mark.cluster
# Python, its libraries and OpenSSL are 49 MB of each; the rest is the packages of requirements/*.txt, compiled.
LARGEST_MB = {"energy": 165, "energy-prescaler": 120}
VERSIONS = {"energy": service_version, "energy-prescaler": operator_version}
LOCKS = {"energy": "app.txt", "energy-prescaler": "operator.txt"}
NOT_FOR_US = ("win32", "python_full_version < '3.11", "python_version <", "emscripten", "PyPy")


@pytest.fixture(params=list(IMAGES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def image(name: str) -> Image:
    assert product_archives()
    return Image(ARCHIVES / f"{name}.tar")


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """The Debian that the images were made from."""
    container = buildah("from", BASE).strip()
    yield Path(buildah("mount", container).strip())
    buildah("rm", container)


def files(image: Image) -> list[tarfile.TarInfo]:
    return [member for member, _ in image.files()]


@pytest.mark.usefixtures("image")
def test_an_image_is_small(name: str) -> None:
    assert (ARCHIVES / f"{name}.tar").stat().st_size / 1e6 < LARGEST_MB[name]


def test_an_image_has_no_shell_no_installer_and_nothing_that_lends_rights(image: Image) -> None:
    names = {Path(member.name).name for member in files(image) if not member.isdir()}
    assert not names & {"sh", "bash", "dash", "busybox", "pip", "pip3", "apt", "apt-get", "dpkg", "perl"}
    assert [member.name for member in files(image) if member.mode & 0o6000 or member.uid or member.gid] == []
    assert [member.name for member in files(image) if member.mode & 0o002 and not member.issym()] == ["tmp"]


def test_an_image_runs_as_nobody_and_says_what_it_is(image: Image, name: str) -> None:
    assert image.config["config"]["User"] == "65532:65532"
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.labels.items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == (name, VERSIONS[name], "Apache-2.0")
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["revision"])
    assert labels["description"]


def test_no_time_in_an_image_is_the_time_of_its_build(image: Image) -> None:
    assert len({member.mtime for member in files(image)}) == 1


def test_the_bill_of_materials_has_every_pinned_package_and_what_python_stands_on(image: Image, name: str) -> None:
    bill = json.loads(text_of(bill_of(image)))
    listed = {part["purl"] for part in bill["components"]}
    pinned = re.findall(r"^(\S+)==(\S+)(.*)$", (ROOT / "requirements" / LOCKS[name]).read_text(), re.MULTILINE)
    wanted = {
        f"pkg:pypi/{package}@{version}" for package, version, when in pinned if not any(w in when for w in NOT_FOR_US)
    }
    assert wanted - listed == set()
    for part in ("pkg:pypi/", "pkg:generic/python@3.", "pkg:deb/debian/libssl3", "pkg:deb/debian/libc6@"):
        assert any(purl.startswith(part) for purl in listed), part
    assert bill == json.loads(text_of(bill_of(image)))


def test_the_bill_of_materials_has_what_pip_finds_in_the_image_and_its_python_no_more(
    image: Image, tmp_path: Path
) -> None:
    for member, layer in image.files():
        layer.extract(member, tmp_path, filter="tar")
    (packages,) = tmp_path.glob("opt/*/lib/python3.*/site-packages")
    pip = json.loads(run(sys.executable, "-m", "pip", "list", "--format=json", f"--path={packages}"))
    python = Path("/", packages.relative_to(tmp_path).parents[2], "bin", "python3")
    version = run("chroot", str(tmp_path), str(python), "-c", "import platform; print(platform.python_version())")
    found = [("pypi", part["name"], part["version"]) for part in pip] + [("generic", "python", version.strip())]
    assert sorted(part for part in parts_of(image) if part[0] != "deb") == sorted(found)


def test_the_bill_of_materials_has_each_debian_package_that_a_file_came_from(image: Image, base: Path) -> None:
    names = [f"/{member.name}" for member in files(image) if member.isfile() and not member.name.startswith("opt/")]
    known = [*names, *(name.removeprefix("/usr") for name in names)]  # a library, by its path before /lib became a link
    dpkg = ["dpkg-query", f"--admindir={base}/var/lib/dpkg"]
    owners = subprocess.run([*dpkg, "--search", *known], capture_output=True, text=True, check=False).stdout
    came_from = {line.partition(":")[0] for line in owners.splitlines() if not line.startswith("diversion")}
    versions = dict(line.split() for line in run(*dpkg, "--show", "--showformat=${Package} ${Version}\\n").splitlines())
    listed = {name: version for kind, name, version in parts_of(image) if kind == "deb"}
    assert came_from - set(listed) == set()
    assert listed == {name: versions[name] for name in listed}


def parts_of(image: Image) -> list[tuple[str, str, str]]:
    return [(part.purl.type, part.name, part.version or "") for part in bill_of(image).components if part.purl]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_builds_have_one_digest(image: Image, name: str, tmp_path: Path) -> None:
    build(f"{name}-again:dev", IMAGES[name], tmp_path / "again.tar", anew=True)
    assert Image(tmp_path / "again.tar").digest == image.digest
