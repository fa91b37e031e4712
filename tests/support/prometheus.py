"""A real Prometheus with the chart's rules, in which time runs faster: every range and every `for` is divided."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from energy.server import listening
from tools.cluster.binaries import program

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def faster(text: str, speed: int) -> str:
    """Durations of a rule, in milliseconds."""
    return re.sub(r"\b(\d+)([smhd])\b", lambda found: f"{int(found[1]) * SECONDS[found[2]] * 1000 // speed}ms", text)


def accelerated(groups: list[dict[str, Any]], speed: int) -> list[dict[str, Any]]:
    groups = deepcopy(groups)
    for rule in (rule for group in groups for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[[^\]]+\]", lambda found: faster(found[0], speed), rule["expr"])
        if "for" in rule:
            rule["for"] = faster(rule["for"], speed)
    return groups


class Prometheus:
    """A running one; `firing()` is what it would tell people."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._base}/api/v1/{path}", timeout=5) as answer:  # noqa: S310 - this machine
            found: dict[str, Any] = json.load(answer)["data"]
            return found

    def firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def up(self) -> int:
        """Targets that are scraped."""
        return sum(target["health"] == "up" for target in self.ask("targets")["activeTargets"])

    def stays_quiet(self, while_s: float) -> None:
        """What must not come is given its time."""
        until = time.monotonic() + while_s
        while time.monotonic() < until:
            firing = self.firing()
            assert firing == set(), f"{firing} fire while nothing is wrong"
            time.sleep(0.1)

    def settles(self, quiet_s: float, timeout_s: float) -> None:
        """Nothing has fired for a while: an outage that is over still uses up the budget, and what waited comes at once."""
        started = quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < quiet_s:
            if firing := self.firing():
                quiet_since = time.monotonic()
            assert time.monotonic() - started < timeout_s, f"{firing} fire while nothing is wrong"
            time.sleep(0.1)

    def wait_for(self, wanted: set[str], among: set[str] | None = None, timeout_s: float = 40.0) -> float:
        """Seconds until exactly these fire, of all alerts or of those in `among`."""
        started = time.monotonic()
        while (firing := self.firing()) & (among or firing) != wanted:
            assert time.monotonic() - started < timeout_s, f"{firing} fire, not {wanted}"
            time.sleep(0.1)
        return time.monotonic() - started


@contextmanager
def prometheus(
    folder: Path, groups: list[dict[str, Any]], scrapes: list[dict[str, Any]], every: str, targets: int
) -> Iterator[Prometheus]:
    """Returns when so many targets are scraped and nothing fires: until its first look for targets, five seconds, it sees none of them."""
    with listening("127.0.0.1", 0) as free:
        port = int(free.getsockname()[1])
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["rules.yaml"],
        "scrape_configs": scrapes,
    }
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(
        [program("prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--query.lookback-delta=2s",
         f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=log, stderr=log,
    ) as process:  # fmt: skip
        try:
            running = Prometheus(port)
            _wait_until_scraped(running, targets, folder)
            yield running
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_scraped(running: Prometheus, targets: int, folder: Path) -> None:
    deadline = time.monotonic() + 40
    while True:
        try:
            if running.up() >= targets and not running.firing():
                return
        except OSError:
            pass  # it is starting
        assert time.monotonic() < deadline, (folder / "prometheus.log").read_text()
        time.sleep(0.1)
