"""The command `prescaler`: see a plan, compare two, print the resource definition, run the operator, give HPAs back.

An error says what is wrong, where, and what to do; it never shows a stack trace.
"""

import asyncio
import logging
import os
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from prescaler import __version__, render
from prescaler.clock import from_environment
from prescaler.kube import Kube, KubeError, NoCredentialsError
from prescaler.localtime import day_of_month
from prescaler.spec import InvalidSpecError, load


class _Group(click.Group):
    """Turns the errors that a user can do something about into one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (InvalidSpecError, KubeError, NoCredentialsError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Every pod Ready when the billing window opens."""


_FILE = click.Path(dir_okay=False, path_type=Path)
_FROM = click.option(
    "--from", "since", metavar="DATE", help="Start, as 2026-12-01 in the first time zone. Default: now."
)


@main.command()
@click.argument("file", type=_FILE)
@click.option("--months", type=click.IntRange(1, 240), default=12, show_default=True)
@_FROM
@click.option("--format", "form", type=click.Choice(["table", "json", "ics"]), default="table", show_default=True)
@click.option("--plot", type=_FILE, help="Also draw the minimum into this file (.png or .svg).")
def plan(file: Path, months: int, since: str | None, form: str, plot: Path | None) -> None:
    """Print every change that the BillingWindow in FILE will make."""
    name, spec = load(file)
    schedule = spec.schedule()
    start, end = _span(since, months, schedule.zones[0])
    if form == "json":
        click.echo(render.as_json(schedule, start, end))
    elif form == "ics":
        click.echo(render.calendar(name, schedule, start, end), nl=False)
    else:
        for line in render.table(schedule, start, end):
            click.echo(line)
        if spec.exceptions_from is not None:
            source = f"ConfigMap {spec.exceptions_from.config_map}"
            click.echo(f"note: the exceptions in {source} are in the cluster and not shown here", err=True)
    if plot is not None:
        if plot.suffix not in {".png", ".svg"}:
            raise click.ClickException(f"--plot {plot}: the name must end in .png or .svg")
        try:
            from prescaler.plot import draw  # noqa: PLC0415 - matplotlib is an extra
        except ImportError as error:
            raise click.ClickException("--plot needs matplotlib: pip install 'prescaler[plot]'") from error
        draw(name, schedule, start, end, plot)


@main.command()
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@click.option("--months", type=click.IntRange(1, 240), default=12, show_default=True)
@_FROM
def diff(old: Path, new: Path, months: int, since: str | None) -> None:
    """Print when OLD and NEW ask for different minimums."""
    before, after = load(old)[1].schedule(), load(new)[1].schedule()
    start, end = _span(since, months, after.zones[0])
    lines = list(render.differences(before, after, start, end))
    for line in lines or [f"no difference from {start:%Y-%m-%d} to {end:%Y-%m-%d}"]:
        click.echo(line)


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, for `kubectl apply -f -`."""
    click.echo(resources.files("prescaler").joinpath("crd.yaml").read_text(encoding="utf-8"), nl=False)


@main.command()
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Only this namespace; repeat for more.")
@click.option("--lease-namespace", help="Where the leader's Lease is kept. Without it this process always acts.")
@click.option("--health-port", type=int, help="Serve /healthz on this port.")
@click.option("--metrics-port", type=int, help="Serve /metrics on this port.")
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
    options = handlers.Options()
    options.namespaces = namespaces or options.namespaces
    options.lease_namespace = lease_namespace or options.lease_namespace
    options.metrics_port = metrics_port or options.metrics_port
    port = health_port or int(os.environ.get("PRESCALER_HEALTH_PORT", "0"))
    kopf.run(
        standalone=True,
        namespaces=options.namespaces,
        clusterwide=not options.namespaces,
        liveness_endpoint=f"http://0.0.0.0:{port}/healthz" if port else None,
        memo=kopf.Memo(options=options),
    )


@main.command()
@click.option("--namespace", "-n", "namespaces", multiple=True, help="Only this namespace; repeat for more.")
@click.option("--timeout", "timeout_s", type=float, default=60, show_default=True, help="Seconds to keep trying.")
def release(namespaces: tuple[str, ...], timeout_s: float) -> None:
    """Delete the BillingWindows and give their HPAs back, with or without a running operator (for uninstalling)."""
    from prescaler.release import release_all  # noqa: PLC0415 - only this command needs it

    gone = asyncio.run(release_all(Kube(), from_environment(), namespaces, timeout_s))
    click.echo(f"{gone} BillingWindows are gone")


def _span(since: str | None, months: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    start = datetime.now(UTC).replace(microsecond=0)
    if since is not None:
        try:
            day = datetime.fromisoformat(since)
        except ValueError as error:
            raise click.ClickException(f"--from {since}: write a date, as 2026-12-01") from error
        start = (day if day.tzinfo else day.replace(tzinfo=zone)).astimezone(UTC)
    local: date = start.date()
    index = local.year * 12 + local.month - 1 + months
    end = day_of_month(index // 12, index % 12 + 1, local.day)
    return start, start + timedelta(days=(end - local).days)
