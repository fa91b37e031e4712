"""`python -m loadtest`: generates, runs, reports and compares. Settings come from LOAD_* variables only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from loadtest import compare, edge, fleet, fleet_import, hostile, incluster, kill, measured, report, runner, service
from loadtest.commands import CommandError
from loadtest.evidence import Evidence
from loadtest.runner import Target, console
from loadtest.sampler import Cluster
from loadtest.settings import SCRIPTS, changed, setting, unknown

SCENARIOS = sorted(path.stem for path in SCRIPTS.glob("*.js") if path.stem not in ("lib", "headend"))
WITH_SCENARIO = {"run": "one scenario, with a report", "run-in-cluster": "the same, with k6 as a Job"}
WITH_FOLDER = {
    "report": "make the report of a run's folder again",
    "fleet": "generate meters and readings",
    "fleet-import": "import a generated fleet and note the speed",
    "image": "write the image of LOAD_IMAGE into an archive file",
}
ALONE = {
    "seed-tests": "the task's four tests, one and five replicas",
    "compare": "write strategies and databases side by side",
    "scale": "throughput against replicas and batch sizes",
    "hostile": "20 000 hostile requests beside 200 good clients",
    "kill": "kill -9 of the service and of a database process under load, as a recording",
    "edge": "new connections and TLS, against reused ones",
    "measured": "copy the newest figures to docs/measured",
}
EXIT = {"passed": 0, "failed": 1, "unknown": 2}


def main() -> int:
    """The exit code says what the report says: 0 passed, 1 failed, 2 nobody can tell."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest", description="The load lab; settings are in docs/load.md."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in WITH_SCENARIO.items():
        commands.add_parser(name, help=words).add_argument("scenario", choices=SCENARIOS)
    for name, words in WITH_FOLDER.items():
        commands.add_parser(name, help=words).add_argument("folder", type=Path)
    for name, words in ALONE.items():
        commands.add_parser(name, help=words)
    arguments = parser.parse_args()
    if misspelt := unknown():
        parser.error(f"no such setting: {', '.join(misspelt)} (the table is in docs/load.md)")
    if arguments.command in WITH_SCENARIO:
        return (run if arguments.command == "run" else run_in_cluster)(arguments.scenario)
    if arguments.command == "kill":
        return EXIT["passed" if kill.measure(runner.new_folder("kill")) else "failed"]
    if arguments.command == "hostile":
        return beside_attacks()
    if arguments.command == "report":
        return show(arguments.folder)
    for line in _words(arguments.command, getattr(arguments, "folder", Path())):
        console.print(line)
    return 0


def _words(command: str, folder: Path) -> Iterator[str]:
    """Does what has no verdict; says where the result is."""
    match command:
        case "fleet":
            fleet.generate(fleet.plan_from_settings(), folder)
        case "fleet-import":
            yield f"figures: {fleet_import.run(folder)}"
        case "image":
            yield f"image: {incluster.image(folder)}"
        case "measured":
            yield from map(str, measured.keep(Path(setting("LOAD_OUT_DIR"))))
        case "seed-tests":
            yield f"report: {compare.seed_tests(runner.new_folder('seed-tests'))}"
        case "compare":
            yield f"report: {compare.strategies(runner.new_folder('compare'))}"
        case "edge":
            yield f"report: {edge.measure(runner.new_folder('edge'))}"
        case "scale":
            yield f"report: {compare.cost_of_scale(runner.new_folder('scale'))}"


def run(scenario: str) -> int:
    """Against LOAD_BASE_URLS, or an instance of our own."""
    folder = runner.new_folder(scenario)
    if urls := setting("LOAD_BASE_URLS"):
        cluster = None
        if namespace := setting("LOAD_NAMESPACE"):
            cluster = Cluster(namespace, setting("LOAD_HPA"), setting("LOAD_POD_SELECTOR"))
        bases = tuple(url.rstrip("/") for url in urls.split(","))
        target = Target(bases, title_of(scenario), setting("LOAD_DATABASE_URL"), cluster, {"Service": ", ".join(bases)})
        runner.run(scenario, target, folder)
        return show(folder)
    replicas, strategy = int(setting("LOAD_REPLICAS")), setting("LOAD_STRATEGY")
    folder.mkdir(parents=True)
    with service.instance(replicas, strategy, folder, setting("LOAD_DATABASE_URL")) as own:
        facts = {"Replicas": str(replicas), "Write strategy": strategy, "Processes": ", ".join(map(str, own.pids))}
        console.print(f"own instance: {', '.join(own.base_urls)} (processes {facts['Processes']})")
        runner.run(scenario, Target(own.base_urls, title_of(scenario), own.database_url, facts=facts), folder)
    return show(folder)


def run_in_cluster(scenario: str) -> int:
    """The chart's k6 Job in LOAD_NAMESPACE sends; the lab watches from here."""
    cluster = Cluster(setting("LOAD_NAMESPACE"), setting("LOAD_HPA"), setting("LOAD_POD_SELECTOR"))
    facts = {"Generator": "a Job in the cluster", "Namespace": cluster.namespace}
    target = Target((), title_of(scenario), setting("LOAD_DATABASE_URL"), cluster, facts)
    settings = {name: value for name, value in changed().items() if name in incluster.FOR_THE_JOB}
    folder = runner.run(scenario, target, runner.new_folder(scenario), settings, drive=incluster.drive)
    return show(folder)


def beside_attacks() -> int:
    """Attacks on an instance of our own; says what did not hold."""
    folder = runner.new_folder("hostile")
    faults = hostile.measure(folder, hostile.Plan())
    for fault in faults:
        console.print(f"[bold red]failed[/]: {fault}")
    console.print(f"figures: {folder / 'figures.json'}")
    return EXIT["failed" if faults else "passed"]


def title_of(scenario: str) -> str:
    """What a run is called in its report."""
    rate, seconds = setting("LOAD_RATE"), setting("LOAD_DURATION_S")
    titles = {
        "peak": f"Peak: {int(rate):,} requests a second for {seconds} s",
        "spike": f"Spike: {setting('LOAD_SPIKE_FACTOR')} times the peak of {int(rate):,} a second",
        "month": "A billing month, squeezed",
        "mixed": f"Mixed: {int(rate):,} writes and {setting('LOAD_READ_RATE')} history reads a second",
        "soak": f"Soak: {int(rate):,} writes a second for {seconds} s",
        "seed-tests": f"The task's test {setting('LOAD_TEST')}",
    }
    return titles.get(scenario, scenario)


def show(folder: Path) -> int:
    """Writes the report and says in a line what it says."""
    page = report.write(folder)
    outcome, why = Evidence(folder).judgement
    console.print(f"[bold]{outcome}[/]: {why}\nreport: {page}")
    return EXIT[outcome]


def run_and_say() -> int:
    """As `main`; a program that fails the lab ends in one sentence."""
    try:
        return main()
    except CommandError as error:
        console.print(f"load lab: {error}", markup=False)
        return EXIT["unknown"]


if __name__ == "__main__":
    sys.exit(run_and_say())
