"""The command `prescaler`: see a plan, compare two, check files, report, print the resource definition, run the operator.

An error says what is wrong, where, and what to do; it never shows a stack trace.
"""

import asyncio
import logging
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from prescaler import __version__, render
from prescaler.clock import from_environment
from prescaler.files import Loaded, load, load_all, objects
from prescaler.kube.client import WINDOWS, Kube, KubeError, NoCredentialsError
from prescaler.plan.localtime import YEARS, day_of_month
from prescaler.plan.occurrences import TooLargeError
from prescaler.report import report_of
from prescaler.window.schema import InvalidSpecError, crd_text
from prescaler.window.status import Status, status_in, status_of


class _Group(click.Group):
    """Turns the errors that a user can do something about into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (InvalidSpecError, TooLargeError, KubeError, NoCredentialsError, OSError) as error:
            raise click.ClickException(str(error)) from error
        except (ValueError, ArithmeticError, RecursionError, LookupError, TypeError) as error:
            raise click.ClickException(f"a defect of prescaler: {type(error).__name__}: {error}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Every pod Ready when the billing window opens."""


_PORT = click.IntRange(1, 65_535)
_FILE = click.Path(dir_okay=False, path_type=Path)
_FROM = click.option(
    "--from", "since", metavar="DATE", help="Start, as 2026-12-01 in the first time zone. Default: now."
)


_EXCEPTIONS = click.option(
    "--exceptions", type=_FILE, help="A file with the list that `exceptionsFrom` takes from the cluster."
)
_MONTHS = click.option("--months", type=click.IntRange(1, 240), default=12, show_default=True)


@main.command()
@click.argument("file", type=_FILE)
@_MONTHS
@_FROM
@_EXCEPTIONS
@click.option("--format", "form", type=click.Choice(["table", "json", "ics"]), default="table", show_default=True)
def plan(file: Path, months: int, since: str | None, exceptions: Path | None, form: str) -> None:
    """Print every change that the BillingWindow in FILE (- is standard input) will make."""
    loaded = load(file, exceptions)
    schedule = loaded.schedule
    start, end = _span(since, months, schedule.zones[0])
    if form == "json":
        click.echo(render.as_json(schedule, start, end))
    elif form == "ics":
        click.echo(render.calendar(loaded.name, schedule, start, end), nl=False)
    else:
        for line in render.table(schedule, start, end):
            click.echo(line)
    _say_what_is_missing(loaded)
    _fail_for(loaded)


@main.command()
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@_MONTHS
@_FROM
@_EXCEPTIONS
def diff(old: Path, new: Path, months: int, since: str | None, exceptions: Path | None) -> None:
    """Print when OLD and NEW ask for different minimums."""
    before, after = load(old, exceptions), load(new, exceptions)
    start, end = _span(since, months, after.schedule.zones[0])
    lines = list(render.differences(before.schedule, after.schedule, start, end))
    for line in lines or [f"no difference from {start:%Y-%m-%d} to {end:%Y-%m-%d}"]:
        click.echo(line)
    _say_what_is_missing(after)
    _fail_for(after)


@main.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@_EXCEPTIONS
def lint(files: tuple[Path, ...], exceptions: Path | None) -> None:
    """Check FILES as the API server would, and for exceptions that change nothing. Exit code 1 if anything is wrong."""
    wrong = 0
    for file in files:
        try:
            found = load_all(file, exceptions)
            problems = [f"{file}: {each.name}: {mistake}" for each in found for mistake in each.mistakes()]
            problems += [] if found else [f"{file}: holds no object of kind BillingWindow"]
        except InvalidSpecError as error:
            problems = [str(error)]
        wrong += len(problems)
        for line in problems or [f"{file}: ok"]:
            click.echo(line)
    if wrong:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("file", type=_FILE, required=False)
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Only this namespace; repeat for more.")
def report(file: Path | None, namespaces: tuple[str, ...]) -> None:
    """Print what became of the past windows: planned, raised, Ready, early or late, warned.

    Asks the cluster, or reads FILE (- is standard input), the answer of `kubectl get bw -o yaml`.
    """
    found: list[tuple[str, Status]]
    if file is not None:
        found = [(str((o.get("metadata") or {}).get("name")), status_in(o.get("status"))) for o in objects(file)]
    else:
        found = asyncio.run(_statuses(namespaces))
    for line in report_of(found):
        click.echo(line)


async def _statuses(namespaces: tuple[str, ...]) -> list[tuple[str, Status]]:
    kube = Kube()
    try:
        listed = [w for scope in namespaces or (None,) for w in await kube.list(WINDOWS, scope)]
    finally:
        await kube.close()
    return [("/".join(w.key), status_of(w)) for w in listed]


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, for `kubectl apply -f -`."""
    click.echo(crd_text(), nl=False)


@main.command()
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Only this namespace; repeat for more.")
@click.option(
    "--lease-namespace",
    envvar="PRESCALER_LEASE_NAMESPACE",
    help="Where the leader's Lease is kept. Without it this process always acts.",
)
@click.option("--health-port", envvar="PRESCALER_HEALTH_PORT", type=_PORT, help="Serve /healthz on this port.")
@click.option("--metrics-port", envvar="PRESCALER_METRICS_PORT", type=_PORT, help="Serve /metrics on this port.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True)
def run(
    namespaces: tuple[str, ...],
    lease_namespace: str | None,
    health_port: int | None,
    metrics_port: int | None,
    log_level: str,
) -> None:
    """Run the operator until SIGTERM. PRESCALER_* variables give what isn't given here."""
    import kopf  # noqa: PLC0415 - the other commands start faster without it

    from prescaler import handlers  # noqa: PLC0415 - registers the handlers

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel("WARNING" if log_level != "debug" else "DEBUG")
    options = handlers.Options(
        namespaces=handlers.checked_namespaces(namespaces or _names("PRESCALER_NAMESPACES")),
        replay_urls=_names("PRESCALER_REPLAY_URLS"),
        lease_namespace=lease_namespace,
        health_port=health_port,
        metrics_port=metrics_port,
        clock=from_environment(),
    )
    kopf.run(
        standalone=True,
        namespaces=options.namespaces,
        clusterwide=not options.namespaces,
        memo=kopf.Memo(options=options),
    )


@main.command()
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Only this namespace; repeat for more.")
@click.option("--name", "names", multiple=True, help="Only this BillingWindow; repeat for more.")
@click.option("--timeout", "timeout_s", type=float, default=60, show_default=True, help="Seconds to keep trying.")
def release(namespaces: tuple[str, ...], names: tuple[str, ...], timeout_s: float) -> None:
    """Delete the BillingWindows and give their targets back, with or without a running operator (for uninstalling)."""
    from prescaler.release import release_all  # noqa: PLC0415 - only this command needs it

    gone = asyncio.run(release_all(Kube(), from_environment(), namespaces, timeout_s, names))
    click.echo(f"{gone} BillingWindows are gone")


def _names(variable: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in os.environ.get(variable, "").split(",") if name.strip())


def _say_what_is_missing(loaded: Loaded) -> None:
    """On standard error, whatever the format: what the cluster knows and this file doesn't."""
    source = loaded.spec.exceptions_from
    if source is not None and not loaded.exceptions:
        words = f"the exceptions in ConfigMap {source.config_map} are in the cluster and not shown here"
        click.echo(f"note: {words}; give them with --exceptions", err=True)
    if loaded.spec.replay is not None:
        click.echo(
            "note: the replay of the last occurrence may raise a window further; only the cluster knows", err=True
        )


def _fail_for(loaded: Loaded) -> None:
    if mistakes := loaded.mistakes():
        raise click.ClickException(f"{loaded.name}: {'; '.join(mistakes)}")


def _span(since: str | None, months: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start = datetime.now(UTC).replace(microsecond=0)
    if since is not None:
        try:
            day = datetime.fromisoformat(since)
        except ValueError as error:
            raise click.ClickException(f"--from {since}: write a date, as 2026-12-01") from error
        if not YEARS[0] <= day.year < YEARS[1]:
            raise click.ClickException(f"--from {since}: write a date from {YEARS[0]} to {YEARS[1] - 1}")
        start = (day if day.tzinfo else day.replace(tzinfo=zone)).astimezone(UTC)
    local: date = start.date()
    index = local.year * 12 + local.month - 1 + months
    end = day_of_month(index // 12, index % 12 + 1, local.day)
    return start, start + timedelta(days=(end - local).days)
