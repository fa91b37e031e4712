"""Debian's packages that a node needs: looked for by what they bring, installed when root may.

A machine that tests run on for the first time has none of them.
"""

import os
import shutil
import subprocess
from pathlib import Path

from .binaries import MissingProgramError, report

CNI_PLUGINS = Path("/usr/lib/cni")
FOR_NODES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    str(CNI_PLUGINS / "ptp"): "containernetworking-plugins",
}
FOR_IMAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
FOR_DISKS = {"mkfs.ext4": "e2fsprogs"}


def ensure(wanted: dict[str, str]) -> None:
    """Installs the packages of those programs that are missing."""
    absent = sorted({package for program, package in wanted.items() if not shutil.which(program)})
    if not absent:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise MissingProgramError(f"install these packages first: {' '.join(absent)}")
    report(f"installing {' '.join(absent)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *absent]):
        answer = subprocess.run(
            ["apt-get", *words], env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if answer.returncode != 0:
            raise MissingProgramError(f"apt-get {' '.join(words)} failed:\n{answer.stderr[-2000:]}")
