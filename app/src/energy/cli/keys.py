"""`energy keys create | list | revoke`: the secret is shown once and never again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from energy.cli.databases import database_with_schema
from energy.http.auth import SCOPES, new_key
from energy.service import database_of
from energy.settings import Settings
from energy.store.postgres.keys import PostgresKeys

app = typer.Typer(help="API keys: who may send, read, or manage.", no_args_is_help=True)
_T = TypeVar("_T")


def _with_keys(work: Callable[[PostgresKeys], Awaitable[_T]]) -> _T:
    settings = Settings()

    async def run(dsn: str) -> _T:
        database = database_of(settings, dsn)
        try:
            return await work(PostgresKeys(database, settings.request_timeout_s))
        finally:
            await database.close()

    with database_with_schema(settings) as dsn:
        return asyncio.run(run(dsn))


@app.command("create")
def create(
    scope: Annotated[list[str], typer.Option(help="ingest, read or admin; may be given several times.")],
    device: Annotated[UUID | None, typer.Option(help="Only for this device.")] = None,
    account: Annotated[str | None, typer.Option(help="Only for this account's devices.")] = None,
    days: Annotated[
        int | None, typer.Option(help="Valid for so many days; without it until revoked.", min=1, max=3650)
    ] = None,
    note: Annotated[str, typer.Option(help="Whose key it is.")] = "",
) -> None:
    """Make a key and print it, once."""
    unknown = set(scope) - SCOPES
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: there are {', '.join(sorted(SCOPES))}", param_hint="--scope"
        )
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    token, key = new_key(frozenset(scope), device, account, expires_at)
    _with_keys(lambda keys: keys.create(key, note))
    typer.echo(token)


@app.command("list")
def show() -> None:
    """List the keys; secrets are not kept and cannot be shown."""
    table = Table("key", "scopes", "bound to", "made", "expires", "revoked", "note")
    for key in _with_keys(lambda keys: keys.all()):
        bound = f"device {key.device_id}" if key.device_id else f"account {key.account_no}" if key.account_no else ""
        times = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (key.created_at, key.expires_at, key.revoked_at)]
        table.add_row(key.key_id, key.scopes, bound, *times, key.note)
    Console().print(table)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The part of the key before the dot.")]) -> None:
    """End a key; running services stop taking it within ENERGY_KEY_CACHE_TTL_S."""
    if not _with_keys(lambda keys: keys.revoke(key_id)):
        raise typer.BadParameter(f"there is no valid key {key_id}; see `energy keys list`", param_hint="KEY_ID")
    typer.echo(f"{key_id} is revoked.")
