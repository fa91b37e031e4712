"""Hostile clients beside good ones, in a small form; the 20,000 are `make load-hostile`."""

from __future__ import annotations

from energy.settings import Settings
from loadtest import hostile
from support.fixtures import StartProcess

PLAN = hostile.Plan(attacks=600, attacks_per_s=100, clients=20, quiet_s=1, patience_s=8)


def test_hostile_clients_cost_good_ones_no_answer_and_the_process_no_memory(
    start_process: StartProcess, database: str
) -> None:
    """Every kind of attack of the load lab's table is answered or closed, and what was acknowledged meanwhile is stored."""
    with start_process(
        database_url=database,
        migrate=True,
        auth="keys",
        bootstrap_admin_key=hostile.KEY,
        body_timeout_s=3,
        request_timeout_s=3,
    ) as service:
        result = hostile.run(service.address, service.process.pid, PLAN)
    assert result.faults == []
    assert hostile.lost(database, result.acknowledged) == 0


def test_the_lab_outwaits_every_limit_of_the_service() -> None:
    """Otherwise `still open` would only mean that the lab hung up first."""
    limits = Settings()
    assert hostile.Plan().patience_s > max(limits.body_timeout_s, limits.request_timeout_s)
