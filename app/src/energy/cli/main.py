"""`energy serve | migrate | keys | import | export`: the commands and how their failures are told.

Thin: a command reads the settings, calls the part that does the work, and prints.
"""

from __future__ import annotations

import sys

import typer
from pydantic import ValidationError
from rich.console import Console

from energy import __version__
from energy.cli import keys, serve, transfer
from energy.cli.stopping import Stopped, signals_are_noted
from energy.cli.table import BadFile
from energy.server import CannotListen
from energy.settings import Settings
from energy.store.embedded import EmbeddedUnavailable
from energy.store.ports import StoreError
from energy.tracing import TracingUnavailable

app = typer.Typer(
    name="energy",
    help="Takes electricity meter readings: acknowledged means committed. Settings are ENERGY_* variables (docs/settings.md).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(keys.app, name="keys")
app.command("serve")(serve.serve)
app.command("migrate")(serve.migrate)
app.command("import")(transfer.import_file)
app.command("export")(transfer.export)


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed with an explanation, 2 called wrongly."""
    try:
        with signals_are_noted():
            app()
    except ValidationError as error:
        _fail(_settings_complaint(error), 2)
    except (StoreError, EmbeddedUnavailable, CannotListen, BadFile, TracingUnavailable) as error:
        _fail(f"{error}", 1)
    except Stopped as stopped:
        _fail("interrupted", stopped.status)


def _settings_complaint(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        name = "".join(f"{Settings.model_config['env_prefix']}{str(part).upper()}" for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return "; ".join(lines)


def _fail(message: str, code: int) -> None:
    Console(stderr=True, soft_wrap=True).print(f"energy: {message}", style="red", markup=False, highlight=False)
    sys.exit(code)
