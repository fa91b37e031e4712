"""kind-config.yaml against the Kubernetes that make/cluster.mk pins; no Docker is needed to see that they don't fit."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
FIRST_WITH_V1BETA4 = (1, 36)
"""kind v0.33 `pkg/cluster/internal/kubeadm/config.go`: below it the kubeadm configuration is v1beta3."""


def pinned_kubernetes() -> tuple[int, ...]:
    found = re.search(r"^KIND_NODE := kindest/node:v(\d+)\.(\d+)", (ROOT / "make/cluster.mk").read_text(), re.MULTILINE)
    assert found is not None
    return tuple(int(part) for part in found.groups())


def test_the_kubeadm_patches_have_the_form_of_the_pinned_kubernetes() -> None:
    """v1beta3 has maps of extra arguments; a list there ends `kind create` with a decoding error of kubeadm."""
    assert pinned_kubernetes() < FIRST_WITH_V1BETA4, "kind writes v1beta4 now: look at the patches again"
    config = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    for patch in map(yaml.safe_load, config["kubeadmConfigPatches"]):
        components = [part for part in patch.values() if isinstance(part, dict)]
        assert components
        assert all(isinstance(part["extraArgs"], dict) for part in components)
