"""Undoes what a run has put on the machine, from its record: the same way after an orderly end and after a crash.

Nothing is ended or removed by a broad name. A process is ours when its number and start time were recorded, when it
sits in a cgroup that we made, or when it serves a containerd socket inside the run's folder.
"""

import json
import signal
import subprocess
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tools.local.waiting import until

from . import cgroups
from .run import start_ticks

CONTAINER_LOG_LINKS = Path("/var/log/containers")  # the kubelet links every log there, whatever its own log folder
GONE_TIMEOUT_S = 20.0


def remove(folder: Path) -> None:
    """Ends the run's processes and takes its traces off the machine; the folder itself goes last."""
    record = list(_entries(folder))
    _end(_recorded_processes(record))
    _end(_shims_of(folder))
    for cgroup in _values(record, "cgroup"):
        _end(_processes_in(cgroup))
    _unmount_all_under(folder)
    for cgroup in _values(record, "cgroup"):
        _remove_cgroup(cgroup)
    for namespace in _values(record, "netns"):
        _quietly("ip", "netns", "delete", namespace)
    for link in _values(record, "link"):
        _quietly("ip", "link", "delete", link)
    for entry in record:
        if entry["kind"] == "sysctl":
            Path(entry["value"]).write_text(entry["before"])
    _remove_log_links(folder)
    _quietly("rm", "-rf", "--one-file-system", str(folder))  # never into a mount that didn't go away


def end_programs(entries: Iterable[dict[str, Any]]) -> None:
    """Ends recorded processes, as a power cut does."""
    _end(_recorded_processes(entries))


def running(entries: Iterable[dict[str, Any]]) -> bool:
    """Whether any of the recorded processes is still there."""
    return bool(_recorded_processes(entries))


def end_containers(folder: Path, cgroup: str) -> None:
    """Ends the containers of one node: first what watches over them, then they themselves."""
    _end(_shims_of(folder))
    _end(_processes_in(cgroup))


def traces(folder: Path, record: list[dict[str, Any]]) -> list[str]:
    """What is still there of a run: nothing, after `remove`."""
    links = _values(record, "link")
    return [
        *(f"process {process.pid}" for process in _recorded_processes(record)),
        *(f"shim {process.pid}" for process in _shims_of(folder)),
        *(f"mount {mount}" for mount in _mounts_under(folder)),
        *(f"cgroup {path}" for name in _values(record, "cgroup") for path in cgroups.dirs_of(name)),
        *(f"netns {name}" for name in _values(record, "netns") if Path("/run/netns", name).exists()),
        *(f"link {name}" for name in links if Path("/sys/class/net", name).exists()),
        *([f"folder {folder}"] if folder.exists() else []),
    ]


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    record = folder / "record.jsonl"
    if not record.exists():
        return
    for line in record.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # the last line of a run that was killed while it wrote
            continue


read_record = _entries


def _values(record: Iterable[dict[str, Any]], kind: str) -> list[str]:
    return [entry["value"] for entry in record if entry["kind"] == kind]


def _recorded_processes(record: Iterable[dict[str, Any]]) -> list[psutil.Process]:
    same = [
        psutil.Process(entry["pid"])
        for entry in record
        if entry["kind"] == "process" and entry["ticks"] and start_ticks(entry["pid"]) == entry["ticks"]
    ]
    return [process for process in same if _runs(process)]


def _shims_of(folder: Path) -> list[psutil.Process]:
    """The shims of containerd outlive it by design; each names the socket of the containerd that it belongs to."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"].startswith("containerd-shim")
        and any(word.startswith(f"{folder}/") for word in process.info["cmdline"] or ())
    ]


def _processes_in(cgroup: str) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in cgroups.processes_in(cgroup) if psutil.pid_exists(pid)]


def _end(processes: list[psutil.Process]) -> None:
    """Kills: what these processes know dies with the run's folder, so there is nothing to wait for."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    until(lambda: not any(_runs(process) for process in processes), f"{processes} have ended", timeout_s=GONE_TIMEOUT_S)


def _runs(process: psutil.Process) -> bool:
    """A zombie is dead: only its parent hasn't looked yet."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _mounts_under(folder: Path) -> list[str]:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [mount for mount in reversed(mounts) if mount.startswith(f"{folder}/")]


def _unmount_all_under(folder: Path) -> None:
    for mount in _mounts_under(folder):
        if subprocess.run(["umount", mount], capture_output=True, check=False).returncode != 0:
            _quietly("umount", "--lazy", mount)  # busy for a moment: the kernel finishes it when the last user is gone


def _remove_cgroup(name: str) -> None:
    for top in cgroups.dirs_of(name):
        nested = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for group in [*nested, top]:
            until(partial(_rmdir, group), f"cgroup {group} is empty", timeout_s=GONE_TIMEOUT_S)


def _rmdir(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # the kernel still counts the processes that were just killed
        return False
    return True


def _remove_log_links(folder: Path) -> None:
    if not CONTAINER_LOG_LINKS.is_dir():
        return
    for link in CONTAINER_LOG_LINKS.iterdir():
        if link.is_symlink() and str(link.readlink()).startswith(f"{folder}/"):
            link.unlink()


def _quietly(*command: str) -> None:
    """Runs what may fail because the thing is gone already; `traces` tells whether it is."""
    subprocess.run(command, capture_output=True, check=False)
