"""`energy keys create | create-many | list | revoke`: the secret is shown once and never again."""

from __future__ import annotations

import csv
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.table import Table as Shown

from energy.cli import files, stopping
from energy.cli.databases import database_with_schema
from energy.cli.table import BadFile, Line, Table, check_header, open_table
from energy.http.auth import SCOPES, SOURCES, new_key
from energy.http.keys import KeyOut
from energy.service import database_of
from energy.settings import Settings
from energy.store.ports import ApiKey, KeyListing
from energy.store.postgres.keys import PostgresKeys

_NEEDED = frozenset({"scopes"})
_KNOWN = _NEEDED | {"device_id", "account_no", "source", "days", "note"}
_KEYS_AT_A_TIME = 5_000
_WRONG_SHOWN = 5
_DAYS_MAX = 3650

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
        return stopping.run(run(dsn))


@app.command("create")
def create(
    scope: Annotated[list[str], typer.Option(help="ingest, read or admin; may be given several times.")],
    device: Annotated[UUID | None, typer.Option(help="Only for this device.")] = None,
    account: Annotated[str | None, typer.Option(help="Only for this account's devices.")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="meter, person or head_end: what its readings come from, whatever the client says."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(help="Valid for so many days; without it until revoked.", min=1, max=3650)
    ] = None,
    note: Annotated[str, typer.Option(help="Whose key it is.")] = "",
) -> None:
    """Make a key and print it, once."""
    try:
        token, key = _made(scope, device, account, source, days)
    except ValueError as error:
        raise typer.BadParameter(f"{error}") from None
    _with_keys(lambda keys: keys.create([(key, note)]))
    typer.echo(token)


@app.command("create-many")
def create_many(
    file: Annotated[
        Path,
        typer.Argument(
            help="A CSV, or - for standard input, with the columns scopes (with spaces between), device_id, account_no, "
            "source, days, note; all but scopes may be left out.",
            callback=files.readable,
        ),
    ],
    output: Annotated[Path, typer.Argument(help="The file for the tokens, or - for standard output.")] = files.STANDARD,
) -> None:
    """Make a key for each line of a file. The output has its columns and the token, once: only its owner can read it."""
    with files.opened(file, "utf-8-sig") as source:
        table = open_table(source)
        check_header(table.header, _NEEDED, _KNOWN)
        wanted, wrong = _wanted(table)
    if wrong:
        raise BadFile(f"no key was made: {'; '.join(wrong[:_WRONG_SHOWN])}")

    async def store(keys: PostgresKeys) -> None:
        for at in range(0, len(wanted), _KEYS_AT_A_TIME):
            await keys.create([(key, note) for _, _, key, note in wanted[at : at + _KEYS_AT_A_TIME]])

    with files.written(output, private=True) as sink:
        _with_keys(store)
        writer = csv.writer(sink)
        writer.writerow([*table.header, "token"])
        writer.writerows([*line, token] for line, token, _, _ in wanted)
    typer.echo(f"{len(wanted)} keys were made.", err=True)


def _wanted(table: Table) -> tuple[list[tuple[Line, str, ApiKey, str]], list[str]]:
    wanted: list[tuple[Line, str, ApiKey, str]] = []
    wrong: list[str] = []
    for number, line in enumerate((line for chunk in table.chunks(_KEYS_AT_A_TIME) for line in chunk), start=1):
        try:
            given = {name: text or None for name, text in table.fields(line).items()}
            device, days = given.get("device_id"), given.get("days")
            token, key = _made(
                (given["scopes"] or "").split(), UUID(device) if device else None, given.get("account_no"),
                given.get("source"), int(days) if days else None,
            )  # fmt: skip
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
        else:
            wanted.append((line, token, key, given.get("note") or ""))
    return wanted, wrong


def _made(
    scopes: Sequence[str], device: UUID | None, account: str | None, source: str | None, days: int | None
) -> tuple[str, ApiKey]:
    """A new token and its key. Raises ValueError."""
    if not scopes or not set(scopes) <= SCOPES:
        raise ValueError(f"scopes are {', '.join(sorted(SCOPES))}, one at least")
    if source is not None and source not in SOURCES:
        raise ValueError(f"a source is one of {', '.join(SOURCES)}")
    if days is not None and not 1 <= days <= _DAYS_MAX:
        raise ValueError(f"days are 1 to {_DAYS_MAX}")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    return new_key(frozenset(scopes), device, account, expires_at, source)


async def _all(keys: PostgresKeys) -> list[KeyListing]:
    found: list[KeyListing] = []
    while page := await keys.page(found[-1].key_id if found else "", _KEYS_AT_A_TIME):
        found += page
    return sorted(found, key=lambda key: (key.created_at, key.key_id))


@app.command("list")
def show(
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,  # noqa: FBT002 - typer's way
) -> None:
    """List the keys; secrets are not kept and cannot be shown."""
    listed = _with_keys(_all)
    if json:
        for key in listed:
            typer.echo(msgspec.json.encode(KeyOut.of(key)).decode())
        return
    table = Shown("key", "scopes", "bound to", "source", "made", "expires", "revoked", "last used", "note")
    for key in listed:
        bound = f"device {key.device_id}" if key.device_id else f"account {key.account_no}" if key.account_no else ""
        made, *times = [
            f"{at:%Y-%m-%d %H:%M}" if at else ""
            for at in (key.created_at, key.expires_at, key.revoked_at, key.last_used_at)
        ]
        table.add_row(key.key_id, key.scopes, bound, key.source or "", made, *times, key.note)
    Console().print(table)


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The part of the key before the dot.")]) -> None:
    """End a key; running services stop taking it within ENERGY_KEY_CACHE_TTL_S."""
    if not _with_keys(lambda keys: keys.revoke(key_id)):
        raise typer.BadParameter(f"there is no valid key {key_id}; see `energy keys list`", param_hint="KEY_ID")
    typer.echo(f"{key_id} is revoked.")
