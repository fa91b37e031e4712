"""Images without a registry: putting them into the nodes, from archive files as `docker save` writes them."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .binaries import cache_dir, program

PATH = "PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"


def import_into(socket: Path, archive: Path) -> None:
    """Puts an image into one node's containerd."""
    command = ["ctr", f"--address={socket}", "--namespace=k8s.io", "images", "import", str(archive)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"ctr images import {archive}: {answer.stderr.strip()}")


def import_into_all(run_folder: Path, archive: Path) -> None:
    """Puts an image into every node of a run."""
    sockets = sorted(run_folder.glob("node-*/containerd.sock"))
    with ThreadPoolExecutor() as several:
        list(several.map(lambda socket: import_into(socket, archive), sockets))


def pause_archive() -> Path:
    """The image every pod starts with."""
    return program_archive("pause")


def program_archive(name: str) -> Path:
    """An image NAME:1 of one static program and nothing else, so the archive is written by hand."""
    binary = program(name)
    archive = cache_dir() / f"{binary.parent.name}.tar"
    if not archive.exists():
        unfinished = archive.with_suffix(".unfinished")
        write_archive(unfinished, f"{name}:1", binary)
        unfinished.rename(archive)
    return archive


def write_archive(
    archive: Path,
    tag: str,
    binary: Path,
    *,
    user: str = "65532:65532",
    folder: str = "usr/bin",
    below: Sequence[Path] = (),
) -> None:
    """An image of a single program in the format of `docker save`, on top of the files of the archives `below`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        files.add(binary, arcname=f"{folder}/{binary.name}")
    layers = {
        f"layer-{number}.tar": content
        for number, content in enumerate([*(b.read_bytes() for b in below), layer.getvalue()])
    }
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": [f"/{folder}/{binary.name}"],
                "Env": [PATH],
                "User": user,
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(part).hexdigest()}" for part in layers.values()],
            },
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": list(layers)}]).encode()
    with tarfile.open(archive, mode="w") as image:
        for name, part in (*layers.items(), ("config.json", config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(part)
            image.addfile(entry, io.BytesIO(part))
