"""A node's cgroup: all its pods live below it, so its processes can be counted and ended with it."""

from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def dirs_of(name: str) -> list[Path]:
    """The group's folder in each hierarchy: one per controller in version 1, a single one in version 2."""
    return [path for path in [MOUNT / name, *MOUNT.glob(f"*/{name}")] if path.is_dir()]


def make(name: str) -> None:
    if (MOUNT / "cgroup.controllers").exists():
        _enable_controllers(MOUNT)
        (MOUNT / name).mkdir(exist_ok=True)
        return
    for hierarchy in MOUNT.iterdir():
        if not (hierarchy / "cgroup.procs").exists() or hierarchy.name == "unified":
            continue
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, and then nothing may run in it
            if (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())


def processes_in(name: str) -> set[int]:
    return {
        int(pid)
        for top in dirs_of(name)
        for members in [top / "cgroup.procs", *top.rglob("cgroup.procs")]
        for pid in members.read_text().split()
    }


def _enable_controllers(root: Path) -> None:
    available = (root / "cgroup.controllers").read_text().split()
    (root / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in available))
