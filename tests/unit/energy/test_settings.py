"""Settings: safe by default, and a wrong one is told by its name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from energy.settings import AuthMode, Settings, is_loopback


@pytest.fixture(autouse=True)
def only_what_the_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ENERGY_{name.upper()}", raising=False)


def test_without_settings_it_is_reachable_from_this_machine_only_and_asks_for_keys() -> None:
    settings = Settings()
    assert is_loopback(settings.host)
    assert settings.auth is AuthMode.KEYS
    assert not settings.insecure
    assert not settings.allow_unsafe_database


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "energy.internal", ""])
def test_without_keys_an_address_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="ENERGY_INSECURE"):
        Settings(host=host, auth=AuthMode.OFF)
    assert Settings(host=host, auth=AuthMode.OFF, insecure=True).auth is AuthMode.OFF
    assert Settings(host=host).auth is AuthMode.KEYS


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_without_keys_loopback_is_allowed(host: str) -> None:
    assert Settings(host=host, auth=AuthMode.OFF).auth is AuthMode.OFF


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_from_day": 20, "window_to_day": 10},
        {"time_zone": "Europe/Atlantis"},
        {"lanes": 0},
        {"queue_age_max_s": 0},
        {"port": 70_000},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_every_setting_can_be_set_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_QUEUE_ROWS_MAX", "17")
    assert Settings().queue_rows_max == 17


def test_no_secret_is_printed() -> None:
    settings = Settings.model_validate(
        {"database_url": "postgresql://u:geheim@h/db", "bootstrap_admin_key": "id.geheim"}
    )
    assert "geheim" not in repr(settings)
