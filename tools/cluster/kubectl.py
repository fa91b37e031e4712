"""Speaking to a cluster: kubectl, and the few questions every test asks."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.local.waiting import until

from .binaries import program

Manifest = dict[str, Any]
COMMAND_TIMEOUT_S = 120.0


class RefusedError(RuntimeError):
    """kubectl said no; the message is what it said."""


class Kubectl:
    """kubectl of the cluster's own version, always with that cluster's kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    def __call__(self, *words: str, given: str | None = None, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        answer = subprocess.run(
            [program("kubectl"), f"--kubeconfig={self.kubeconfig}", *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=os.environ | {"KUBECONFIG": str(self.kubeconfig)},
        )
        if answer.returncode != 0:
            raise RefusedError(f"kubectl {' '.join(words)}: {answer.stderr.strip() or answer.stdout.strip()}")
        return answer.stdout

    def apply(self, *manifests: Manifest) -> None:
        """Creates or changes objects, server-side as Helm 4 and Argo do."""
        everything = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self("apply", "--server-side", "--force-conflicts", "-f", "-", given=json.dumps(everything))

    def get(self, kind: str, name: str, *, namespace: str = "default") -> Manifest:
        answer: Manifest = json.loads(self("get", kind, name, "-n", namespace, "-o", "json"))
        return answer

    def items(self, kind: str, *, namespace: str = "default", selector: str = "") -> list[Manifest]:
        words = ["get", kind, "-n", namespace, "-o", "json", *([f"--selector={selector}"] if selector else [])]
        found: list[Manifest] = json.loads(self(*words))["items"]
        return found

    def rollout(self, *workloads: str, namespace: str = "default", timeout_s: float = 120.0) -> None:
        """Waits until each workload is complete; on failure says what its pods and events say."""
        for workload in workloads:
            try:
                self(
                    "rollout", "status", workload, "-n", namespace, f"--timeout={timeout_s:.0f}s",
                    timeout_s=timeout_s + 10,
                )  # fmt: skip
            except RefusedError as refused:
                raise RefusedError(f"{refused}\n{self.what_happened(namespace)}") from None

    def wait_for(
        self,
        kind: str,
        name: str,
        condition: Callable[[Manifest], object],
        what: str,
        *,
        namespace: str = "default",
        timeout_s: float = 60.0,
    ) -> Manifest:
        """Waits until an object looks as wanted, and gives it back."""

        def look() -> Manifest | None:
            try:
                seen = self.get(kind, name, namespace=namespace)
            except RefusedError:
                return None
            return seen if condition(seen) else None

        try:
            return until(look, f"{kind} {name} {what}", timeout_s=timeout_s) or {}
        except TimeoutError as timeout:
            raise TimeoutError(f"{timeout}\n{self.what_happened(namespace)}") from None

    def what_happened(self, namespace: str) -> str:
        """Pods, the latest events, and the last words of pods that aren't well: what a person would look at first."""
        pods = self("get", "pods", "-n", namespace, "-o", "wide")
        events = self("get", "events", "-n", namespace, "--sort-by=.lastTimestamp").splitlines()
        unwell = [
            pod["metadata"]["name"]
            for pod in self.items("pods", namespace=namespace)
            if not all(status["ready"] for status in pod["status"].get("containerStatuses", []))
        ]
        return "\n".join([pods, *events[-15:], *(self._last_words(pod, namespace) for pod in unwell[:3])])

    def _last_words(self, pod: str, namespace: str) -> str:
        try:
            return f"{pod} said:\n{self('logs', pod, '-n', namespace, '--all-containers', '--tail=8')}"
        except RefusedError as silent:  # it never started
            return str(silent)
