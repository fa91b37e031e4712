"""A Docker daemon of our own: Debian's, unpacked rather than installed, so that no service starts and none is left."""

import os
import shutil
import subprocess
from pathlib import Path

from tools.cluster.binaries import cache_dir, report
from tools.local.waiting import until

RUNTIME = Path(__file__).with_name("runtime.py")
CGROUP = "energy-kind"
DISK_GB = 40  # at most; the file is as large as what is in it
START_TIMEOUT_S = 60.0


def unpacked() -> Path:
    """The folder of Debian's docker.io."""
    target = cache_dir() / "docker.io"
    if target.is_dir():
        return target
    report("unpacking Debian's docker.io")
    unfinished = target.with_name("docker.io.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    subprocess.run(["apt-get", "download", "-qq", "docker.io"], cwd=unfinished, check=True)
    for package in unfinished.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, unfinished], check=True)
        package.unlink()
    unfinished.rename(target)
    return target


def environment(folder: Path) -> dict[str, str]:
    """With which `docker` and `kind` speak to this daemon and to no other."""
    debian = unpacked()
    path = os.pathsep.join([str(debian / "usr/bin"), str(debian / "usr/sbin"), os.environ["PATH"]])
    return {"DOCKER_HOST": f"unix://{folder / 'docker.sock'}", "PATH": path}


def disk(folder: Path) -> Path:
    """A filesystem in a file. Four nodes' images are 100 000 files: they go with it at once, and no disk is told of each."""
    file, mounted = folder / "docker.ext4", folder / "docker"
    mounted.mkdir()
    with file.open("wb") as empty:
        empty.truncate(DISK_GB * 10**9)
    plain = ["-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"]
    subprocess.run(["mkfs.ext4", "-q", *plain, file], check=True)
    subprocess.run(["mount", "-o", "loop,nodiscard", file, mounted], check=True)
    return mounted


def start(folder: Path) -> None:
    """Returns when the daemon answers. It ends with the process namespace that it is in."""
    ours = os.environ | environment(folder)
    log = folder / "dockerd.log"
    command: list[str | Path] = [
        unpacked() / "usr/sbin/dockerd",
        f"--data-root={disk(folder)}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
        f"--host={ours['DOCKER_HOST']}",
        "--bridge=none",  # kind makes the one network that is used
        f"--cgroup-parent=/{CGROUP}",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--storage-driver=overlay2",
        f"--add-runtime=withheld={RUNTIME}",
        "--default-runtime=withheld",
    ]
    with log.open("wb") as output:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ours)
    until(lambda: daemon.poll() is not None or _answers(ours), "the Docker daemon answers", timeout_s=START_TIMEOUT_S)
    if daemon.poll() is not None:
        raise RuntimeError(f"dockerd ended:\n{log.read_text()[-2000:]}")


def _answers(ours: dict[str, str]) -> bool:
    return subprocess.run(["docker", "info"], env=ours, capture_output=True, check=False).returncode == 0
