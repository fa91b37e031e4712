"""The start of the service, as far as it needs no process: what is waited for, and what is not."""

from __future__ import annotations

import pytest

from energy.cli import serve
from energy.store.ports import Unavailable
from energy.store.postgres.database import Database, UnsafeDatabase


class Away(Database):
    """A database that answers at the given attempt."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)

    async def connect(self) -> None:
        if self.refusals:
            raise self.refusals.pop(0)


async def test_our_own_database_that_dies_while_we_start_is_waited_for() -> None:
    away = Away(Unavailable("Connection refused"), Unavailable("the database system is starting up"))
    await serve._reach(away, serve.OWN_PATIENCE_S)
    assert not away.refusals


@pytest.mark.parametrize(
    ("refusal", "patience_s"), [(Unavailable("no such host"), 0.0), (UnsafeDatabase("fsync"), 30.0)]
)
async def test_what_waiting_does_not_cure_is_said_at_once(refusal: Exception, patience_s: float) -> None:
    away = Away(refusal, refusal)
    with pytest.raises(type(refusal)):
        await serve._reach(away, patience_s)
    assert len(away.refusals) == 1
