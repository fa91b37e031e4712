"""The one settings object: every limit with its unit in the name, every value from an ENERGY_* variable.

It exists so that nothing else reads the environment. It must not know what the values are used for beyond the checks
that make a combination safe or not; `tests/docs` keeps the table in docs/settings.md complete.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class WriteStrategy(StrEnum):
    """How readings reach the database: the task compares the three."""

    GROUP = "group"
    PARALLEL = "parallel"
    SEQUENTIAL = "sequential"


class AuthMode(StrEnum):
    """Whether requests need an API key."""

    KEYS = "keys"
    OFF = "off"


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        message = f"{name!r} is not a time zone of the IANA database, such as Europe/Samara"
        raise ValueError(message) from error
    return name


class Settings(BaseSettings):
    """What a running service may be told. Defaults carry the task's peak on one machine."""

    model_config = SettingsConfigDict(env_prefix="ENERGY_", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose.")
    workers: int = Field(
        1, ge=1, le=64, description="Processes on bare metal; in Kubernetes one per pod, and more pods."
    )
    auth: AuthMode = Field(
        AuthMode.KEYS, description="`keys` asks every request for an API key, `off` none (loopback only)."
    )
    insecure: bool = Field(default=False, description="Allow `auth=off` on an address that others can reach.")

    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15+ or CockroachDB. Unset: an embedded PostgreSQL in the data directory."
    )
    database_read_url: SecretStr | None = Field(None, description="Where history is read: a PostgreSQL replica.")
    data_dir: Path = Field(Path("energy-data"), description="Where the embedded PostgreSQL keeps its data.")
    migrate: bool | None = Field(
        None, description="Migrate at start. Unset: only with the embedded database; elsewhere run `energy migrate`."
    )
    allow_unsafe_database: bool = Field(
        default=False,
        description="Start although `fsync` or `synchronous_commit` is off: acknowledged readings can be lost.",
    )
    database_connections_max: int = Field(8, ge=1, le=200, description="Connections one process may hold for writing.")
    database_read_connections_max: int = Field(
        4, ge=1, le=200, description="Connections one process may hold for reading, to each server it reads from."
    )
    database_connect_timeout_s: float = Field(2.0, gt=0, le=60, description="Longest wait for a new connection.")
    database_connection_age_max_s: float = Field(
        900.0, gt=0, le=86_400, description="A connection older than this is replaced, so that load finds new servers."
    )
    statement_cache_size: int = Field(
        128, ge=0, le=10_000, description="Prepared statements kept per connection; 0 behind PgBouncer."
    )
    replica_lag_max_s: float = Field(10.0, ge=0, le=3600, description="A replica further behind is not read from.")

    write_strategy: WriteStrategy = Field(WriteStrategy.GROUP, description="`group`, `parallel` or `sequential`.")
    lanes: int = Field(
        2, ge=1, le=64, description="The most batches being written at the same time; one where commits are quick."
    )
    bulk_lanes: int = Field(2, ge=1, le=64, description="Batch requests being written at the same time.")
    batch_rows_max: int = Field(
        1_000, ge=1, le=10_000, description="Most rows one statement writes for single readings."
    )
    linger_ms: float = Field(
        0.0, ge=0, le=100, description="How long a free lane waits for more readings before it writes; 0: not at all."
    )
    queue_rows_max: int = Field(
        20_000, ge=1, le=1_000_000, description="Readings that may wait; more are answered 503."
    )
    queue_age_max_s: float = Field(
        2.0, gt=0, le=60, description="Wait, of the oldest or expected, at which new readings are answered 503."
    )
    request_timeout_s: float = Field(
        10.0, gt=0, le=120, description="Deadline for committing a reading; after it the client gets 503."
    )
    retry_after_s: int = Field(
        2, ge=1, le=300, description="Mean of the Retry-After of a 503, which is drawn at random around it."
    )

    body_bytes_max: int = Field(16_384, ge=256, le=1_048_576, description="Largest body of a single reading.")
    batch_body_bytes_max: int = Field(
        8_388_608, ge=1024, le=134_217_728, description="Largest batch body, after gunzip too."
    )
    batch_items_max: int = Field(10_000, ge=1, le=100_000, description="Most readings in one batch request.")
    body_timeout_s: float = Field(
        10.0, gt=0, le=120, description="Longest wait for a request to arrive, and for a client to read its answer."
    )
    header_bytes_max: int = Field(16_384, ge=1024, le=65_536, description="Largest request line and headers.")
    connections_max: int = Field(
        4_096, ge=10, le=100_000, description="Open connections of one process; more are answered 503 and closed."
    )
    batch_requests_max: int = Field(
        8, ge=1, le=1_000, description="Batch requests handled at the same time; more are answered 503."
    )
    rate_per_s: float = Field(
        0.0, ge=0, le=100_000, description="Requests per second one API key may make of one process; 0: no limit."
    )
    rate_burst: int = Field(
        200, ge=1, le=1_000_000, description="Requests a key may make at once before the rate counts."
    )
    key_cache_ttl_s: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="How long a revoked key may still work; longer only while the database is away.",
    )
    key_cache_max: int = Field(
        50_000, ge=100, le=10_000_000, description="Keys, and devices of bound keys, remembered."
    )
    history_items_max: int = Field(1_000, ge=1, le=10_000, description="Largest page of history.")

    window_from_day: int = Field(
        15, ge=1, le=31, description="First day of the submission window, local to the account."
    )
    window_to_day: int = Field(26, ge=1, le=31, description="Last day of the submission window, local to the account.")
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "Europe/Samara", description="Zone of meters that no account is known for."
    )
    future_tolerance_s: float = Field(300.0, ge=0, le=86_400, description="How far ahead a meter's clock may be.")
    spike_kwh_per_day_max: float = Field(500.0, gt=0, le=1e9, description="Consumption above this is flagged `spike`.")

    drain_timeout_s: float = Field(20.0, gt=0, le=600, description="Longest wait for open requests after SIGTERM.")
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=120,
        description="After SIGTERM the service is not ready but still serves for this long, until load balancers have noticed.",
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level of log lines that are written."
    )
    log_format: str = Field("json", pattern="^(json|text)$", description="`json` for machines, `text` for people.")
    access_log: bool = Field(default=False, description="One log line per request; costs a fifth of the throughput.")
    otlp_endpoint: str | None = Field(None, description="Send OpenTelemetry traces here (OTLP over HTTP). Unset: none.")
    bootstrap_admin_key: SecretStr | None = Field(
        None,
        description="`<id>.<secret>`: an admin key that `energy migrate` makes, or gives this secret if it has another one.",
    )

    @model_validator(mode="after")
    def _safe_together(self) -> Self:
        if self.auth is AuthMode.OFF and not self.insecure and not is_loopback(self.host):
            message = (
                f"ENERGY_AUTH=off with ENERGY_HOST={self.host} would let anybody on the network write readings. "
                "Listen on 127.0.0.1, switch keys on, or set ENERGY_INSECURE=true if you accept that."
            )
            raise ValueError(message)
        if self.window_from_day > self.window_to_day:
            message = "ENERGY_WINDOW_FROM_DAY must not be after ENERGY_WINDOW_TO_DAY: the window lies inside one month"
            raise ValueError(message)
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
