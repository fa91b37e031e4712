"""The test harness: a real Kubernetes on this machine. See the README beside this folder."""

from .cluster import Cluster
from .kubectl import Kubectl, Manifest, RefusedError
from .run import BusyError
from .waiting import wait_until

__all__ = ["BusyError", "Cluster", "Kubectl", "Manifest", "RefusedError", "wait_until"]
