"""Makes the file tree of an image: an environment, the Python it runs on, the libraries of both, and nothing else.

Runs in the build stage of the Dockerfiles, where there is only a Python (no package of the project, no tool). What isn't
copied can't have a hole and needn't be downloaded: no shell, no package manager, no compiler. Debian's own record of each
package that a file comes from is copied beside it (`/var/lib/dpkg/status.d`), so that scanners know what they see.

The same input gives the same tree, byte for byte: files are compiled in one order, without times in them, and every time
is SOURCE_DATE_EPOCH.
"""

import argparse
import compileall
import os
import py_compile
import re
import shutil
import ssl
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Of Python's own library: what is for people at a terminal, for building, or for testing Python itself.
NOT_OF_STDLIB = (
    "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip", "lib2to3", "pydoc_data", "config-*",
    "site-packages", "dist-packages", "__pycache__", "_tkinter*", "_test*.so", "_ctypes_test*", "xxlimited*", "_xx*",
)  # fmt: skip
# Of packages: sources that were compiled, types, debugging aids, tests, and scripts for other shells.
NOT_OF_PACKAGES = (
    "__pycache__", "tests", "*.pyx", "*.pxd", "*.pxi", "*.pyi", "*.c", "*.cpp", "*.h", "*.hpp", "*.map", "activate*", "Activate*",
)  # fmt: skip
ALWAYS = ("libgcc_s.so.1",)  # glibc opens it by name when a thread ends
USER = 65532
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def make(environment: Path, root: Path) -> None:
    """Fills `root` with everything that `environment` needs to run."""
    python = (environment / "bin" / "python3").resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    _skeleton(root)
    shutil.copytree(
        environment, _below(root, environment), symlinks=True, ignore=shutil.ignore_patterns(*NOT_OF_PACKAGES)
    )
    _point_at(python, _below(root, environment) / "bin")
    shutil.copytree(
        stdlib, _below(root, stdlib), ignore=shutil.ignore_patterns(*NOT_OF_STDLIB), ignore_dangling_symlinks=True
    )
    for path in [python, *_libraries(python, [stdlib, environment])]:
        _copy(path, root)
    _certificates(root)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)
    shutil.rmtree(root / "var/cache", ignore_errors=True)  # what ldconfig remembers of file times
    _keep_records(root, environment)
    _compile([_below(root, stdlib), _below(root, environment)], root)
    _same_times(root, int(os.environ["SOURCE_DATE_EPOCH"]))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _skeleton(root: Path) -> None:
    for folder in ("etc/ssl/certs", "usr/lib", "usr/lib64", "var/lib/dpkg/status.d", "tmp", "proc", "sys", "dev"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in ("lib", "lib64"):  # as in the base: all libraries are below /usr
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/passwd").write_text(f"root:x:0:0:root:/:/none\nenergy:x:{USER}:{USER}:energy:/:/none\n")
    (root / "etc/group").write_text(f"root:x:0:\nenergy:x:{USER}:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    for path in (Path("/etc/os-release"), *sorted(Path("/etc/ld.so.conf.d").iterdir()), Path("/etc/ld.so.conf")):
        _copy(path, root)


def _point_at(python: Path, folder: Path) -> None:
    """The environment's own names of Python."""
    for link in (path for path in folder.iterdir() if path.is_symlink()):
        link.unlink()
        link.symlink_to(python)


def _copy(path: Path, root: Path) -> None:
    """Copies a file under the name it is asked for, into the folder that it is really in."""
    target = _below(root, path.parent.resolve() / path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def _libraries(python: Path, trees: Iterable[Path]) -> list[Path]:
    """Every shared library that Python or an extension of it is linked with, and the loader."""
    extensions = [path for tree in trees for path in tree.rglob("*.so*") if not path.match("*/_tkinter*")]
    found: set[Path] = set()
    for binary in [python, *extensions]:
        answer = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
        found |= {Path(path) for path in _LIBRARY.findall(answer.stdout)}
    by_libc = next(path.parent for path in found if path.name.startswith("libc.so"))
    inside = tuple(str(tree) for tree in trees)
    return sorted({*found, *(by_libc / name for name in ALWAYS)} - {p for p in found if str(p).startswith(inside)})


def _certificates(root: Path) -> None:
    """The public authorities, where this Python's OpenSSL looks for them."""
    bundle, wanted = Path("/etc/ssl/certs/ca-certificates.crt"), Path(ssl.get_default_verify_paths().openssl_cafile)
    _copy(bundle, root)
    link = _below(root, wanted)
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(bundle)
    _copy(Path("/etc/ssl/openssl.cnf"), root)


def _keep_records(root: Path, environment: Path) -> None:
    """Debian's record and licence of each package that a file comes from."""
    files = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    ours = {f"/{path.relative_to(root)}" for path in files if not path.is_relative_to(_below(root, environment))}
    for package in sorted({*_owners(ours), "ca-certificates"}):  # its bundle is made when it is installed
        status = subprocess.run(["dpkg-query", "--status", package], capture_output=True, text=True, check=False)
        if status.returncode == 0:
            (root / "var/lib/dpkg/status.d" / package).write_text(status.stdout)
        licence = Path("/usr/share/doc", package, "copyright")
        if licence.exists():
            _copy(licence, root)


def _owners(names: set[str]) -> Iterator[str]:
    """Debian knows a library by the path from before /lib became a link."""
    known = sorted(names | {name.removeprefix("/usr") for name in names})
    answer = subprocess.run(["dpkg-query", "--search", *known], capture_output=True, text=True, check=False)
    for line in answer.stdout.splitlines():
        if not line.startswith("diversion "):
            yield line.partition(":")[0]


def _compile(trees: Iterable[Path], root: Path) -> None:
    """Nothing can write beside the modules at run time, so they come compiled; the files are never looked at for changes."""
    for tree in trees:
        compileall.compile_dir(
            tree,
            stripdir=root,
            prependdir="/",
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def _same_times(root: Path, seconds: int) -> None:
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink() and path != root / "tmp":
            path.chmod((path.stat().st_mode | 0o444) & ~0o022)
        os.utime(path, (seconds, seconds), follow_symlinks=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("root", type=Path)
    given = parser.parse_args()
    make(given.environment, given.root)
