"""A real Kubernetes on this machine, for tests (tests/cluster/fixtures.py) and people (`make cluster-up`). See README.md."""

from .cluster import Cluster
from .kubectl import Kubectl, Manifest, RefusedError
from .run import BusyError

__all__ = ["BusyError", "Cluster", "Kubectl", "Manifest", "RefusedError"]
