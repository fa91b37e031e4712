"""Every SQL statement of the running service, in the subset that PostgreSQL 15+ and CockroachDB 25.2+ share.

One module, so that a test can hand all of them to CockroachDB's own parser, and a reader can see what the database is
asked. A batch is bound column by column: ids and times as binary arrays, which the server need not parse; words and numbers
as one comma-separated text each, because no value in them can hold a comma and a driver encodes that faster than an array.
"""

from __future__ import annotations

from energy.store.postgres.judgement import JUDGED as _JUDGED
from energy.store.postgres.judgement import JUDGED_BESIDE as _JUDGED_BESIDE
from energy.store.postgres.judgement import REJUDGED as _REJUDGED

_INSERT = """
INSERT INTO readings (device_id, reading_id, register, value, read_at, received_at, period, source, status, flags, supersedes,
                      key_id)
SELECT device_id, reading_id, register, value, read_at, received_at, period, source,
       CASE WHEN flags = '' THEN 'accepted' ELSE 'flagged' END, flags, $10::uuid, key_id
FROM judged WHERE NOT doubtful ORDER BY device_id, reading_id
ON CONFLICT (device_id, reading_id) DO NOTHING
RETURNING device_id, reading_id, period, flags
"""
APPEND = _JUDGED + _INSERT
"""The whole write of the usual batch: look up, compare, flag and insert in one statement, which is its own transaction."""
APPEND_BESIDE = _JUDGED_BESIDE + _INSERT
"""The same of a batch with several readings of a line, or of a correction: it compares more, and takes half as long again."""

REVIEW = (
    _JUDGED_BESIDE
    + """
SELECT j.device_id, j.reading_id, j.flags, j.of_next, j.previous_value, j.previous_at, j.next_value, j.next_at,
       r.register, r.value, r.read_at, r.received_at, r.period, r.source, r.status, r.flags AS stored_flags, r.supersedes, r.key_id
FROM judged j LEFT JOIN readings r ON r.device_id = j.device_id AND r.reading_id = j.reading_id
"""
)
"""What became of the rows that an APPEND did not insert: they were there already, or a person should look at them."""

REJUDGE = (
    _REJUDGED
    + """
UPDATE readings r SET flags = j.flags, status = CASE WHEN j.flags = '' THEN 'accepted' ELSE 'flagged' END
FROM rejudged j
WHERE r.device_id = j.device_id AND r.reading_id = j.reading_id AND r.status <> 'superseded'
  AND j.flags <> j.old_flags AND r.flags <> j.flags
"""
)
"""Flags around readings that were stored or superseded, as they are now that all of these are seen. No row when all are right."""

SUPERSEDE = """
UPDATE readings SET status = 'superseded' WHERE device_id = $1 AND reading_id = $2 AND status <> 'superseded'
"""

_COLUMNS = """r.device_id, r.reading_id, r.register, r.value, r.read_at, r.received_at, r.period, r.source, r.status, r.flags,
       r.supersedes, r.key_id"""

_HISTORY = """
SELECT {columns} FROM {source} {as_of}
WHERE {whose}
  AND r.read_at >= coalesce($3::timestamptz, '-infinity'::timestamptz)
  AND r.read_at < coalesce($4::timestamptz, 'infinity'::timestamptz)
  AND (r.read_at, r.device_id, r.reading_id) < (coalesce($5::timestamptz, 'infinity'::timestamptz),
    coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid), coalesce($7::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
ORDER BY r.read_at DESC, r.device_id DESC, r.reading_id DESC LIMIT $2
"""
_OF_DEVICE = {"columns": _COLUMNS, "source": "readings r", "whose": "r.device_id = $1::uuid"}
_ACCOUNTS_TIMES = """(
  SELECT device_id, account_since AS since, NULL::timestamptz AS until FROM meters WHERE account_no = $1::text
  UNION ALL
  SELECT device_id, since, until FROM former_accounts WHERE account_no = $1::text
) m"""
"""The meters of an account, each with the time in which it was the account's."""
_OF_ACCOUNT = {
    "columns": _COLUMNS,
    "source": _ACCOUNTS_TIMES + " JOIN readings r ON r.device_id = m.device_id",
    "whose": "r.read_at >= coalesce(m.since, '-infinity'::timestamptz) AND r.read_at < coalesce(m.until, 'infinity'::timestamptz)",
}
_FOLLOWER = "AS OF SYSTEM TIME follower_read_timestamp()"

HISTORY_OF_DEVICE = _HISTORY.format(as_of="", **_OF_DEVICE)
HISTORY_OF_ACCOUNT = _HISTORY.format(as_of="", **_OF_ACCOUNT)
HISTORY_OF_DEVICE_FROM_FOLLOWER = _HISTORY.format(as_of=_FOLLOWER, **_OF_DEVICE)
HISTORY_OF_ACCOUNT_FROM_FOLLOWER = _HISTORY.format(as_of=_FOLLOWER, **_OF_ACCOUNT)

FIND = f"SELECT {_COLUMNS} FROM readings r WHERE r.device_id = $1 AND r.reading_id = $2"  # noqa: S608 - constants only

ACCOUNT_OF = "SELECT m.account_no, a.time_zone FROM meters m LEFT JOIN accounts a ON a.account_no = m.account_no WHERE m.device_id = $1"

_EXPECTED = """(m.installed_at IS NULL OR m.installed_at < $1::date + '1 month'::interval)
    AND (m.removed_at IS NULL OR m.removed_at >= $1::date + '1 month'::interval)"""
"""The meters that are there at the end of the month: what others send hides none that is missing."""
PROGRESS = f"""
SELECT $1::date AS period, now() AS counted_at, count(*) AS received, coalesce(sum(r.flagged), 0)::bigint AS flagged,
       (SELECT count(*) FROM meters m WHERE {_EXPECTED}) AS expected
FROM (
  SELECT device_id, count(*) FILTER (WHERE status = 'flagged') AS flagged
  FROM readings WHERE period = $1::date AND status <> 'superseded' GROUP BY device_id
) r JOIN meters m ON m.device_id = r.device_id
WHERE {_EXPECTED}
"""  # noqa: S608 - constants only
IN_THE_ORDER_OF_THE_DISK = """
SET LOCAL enable_indexscan = off; SET LOCAL enable_nestloop = off; SET LOCAL max_parallel_workers_per_gather = 0
"""
"""For a count of a whole period: its readings lie together, and its statistics say, while it is new, that it has none."""
NOT_WAITING = "SET LOCAL synchronous_commit = off"
"""For what may be lost: a standby that is gone holds it up no more than a disk."""
PROGRESS_NOTED = """
SELECT period, expected, received, flagged, counted_at, took_s, extract(epoch FROM now() - counted_at)::float8 AS age_s
FROM progress WHERE period = $1
"""
PROGRESS_NOTE = """
INSERT INTO progress (period, expected, received, flagged, counted_at, took_s) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (period) DO UPDATE SET expected = excluded.expected, received = excluded.received, flagged = excluded.flagged,
  counted_at = excluded.counted_at, took_s = excluded.took_s
"""

ONE_VIEW = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
IN_THE_ORDER_OF_AN_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
"""For an export's pages: each must read what it shows, not sort all that is left."""
EXPORT = f"""
SELECT {_COLUMNS} FROM readings r
WHERE r.period = $1 AND r.device_id >= $2::uuid AND ($3::uuid IS NULL OR (r.device_id, r.reading_id) > ($2::uuid, $3::uuid))
ORDER BY r.device_id, r.reading_id LIMIT $4
"""  # noqa: S608 - constants only

KEYS_OF = """
SELECT key_id, secret_sha256, scopes, device_id, account_no, expires_at, revoked_at, source
FROM api_keys WHERE key_id = ANY ($1::text[])
"""
ACCOUNTS_OF = "SELECT device_id, account_no, account_since FROM meters WHERE device_id = ANY ($1::uuid[])"
KEYS = """
SELECT key_id, scopes, device_id, account_no, created_at, expires_at, revoked_at, note, source, last_used_at
FROM api_keys WHERE key_id > $1 ORDER BY key_id LIMIT $2
"""
KEYS_CREATE = """
INSERT INTO api_keys (key_id, secret_sha256, scopes, device_id, account_no, expires_at, note, source)
SELECT key_id, secret_sha256, scopes, device_id, account_no, expires_at, note, source
FROM unnest($1::text[], $2::bytea[], $3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
     AS t (key_id, secret_sha256, scopes, device_id, account_no, expires_at, note, source)
ON CONFLICT (key_id) DO NOTHING
"""
KEYS_USED = """
UPDATE api_keys SET last_used_at = now()
WHERE key_id = ANY ($1::text[]) AND (last_used_at IS NULL OR last_used_at < now() - '1 minute'::interval)
"""
KEY_REPLACE = """
UPDATE api_keys SET secret_sha256 = $2, scopes = $3, device_id = NULL, account_no = NULL, source = NULL, expires_at = NULL,
  revoked_at = NULL
WHERE key_id = $1 AND note = $4 AND secret_sha256 <> $2
"""
KEY_REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE key_id = $1 AND revoked_at IS NULL"

ACCOUNTS_IMPORT = """
INSERT INTO accounts (account_no, region, time_zone)
SELECT DISTINCT ON (account_no) account_no, region, time_zone
FROM unnest($1::text[], $2::text[], $3::text[]) AS t (account_no, region, time_zone) ORDER BY account_no
ON CONFLICT (account_no) DO UPDATE SET time_zone = excluded.time_zone,
  region = CASE WHEN 'region' = ANY ($4::text[]) THEN excluded.region ELSE accounts.region END
"""
_OPTIONAL = ("serial", "digits", "decimals", "multiplier", "installed_at", "removed_at")
METERS_IMPORT = """
INSERT INTO meters (device_id, account_no, serial, digits, decimals, multiplier, installed_at, removed_at, account_since)
SELECT DISTINCT ON (device_id) device_id::uuid, account_no, serial, digits::int, decimals::int, multiplier::numeric,
       nullif(installed_at, '')::timestamptz, nullif(removed_at, '')::timestamptz, nullif(account_since, '')::timestamptz
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $10::text[])
     AS t (device_id, account_no, serial, digits, decimals, multiplier, installed_at, removed_at, account_since) ORDER BY device_id
ON CONFLICT (device_id) DO UPDATE SET account_no = excluded.account_no,
  account_since = CASE WHEN meters.account_no <> excluded.account_no THEN coalesce(excluded.account_since, now())
                       WHEN 'account_since' = ANY ($9::text[]) THEN excluded.account_since ELSE meters.account_since END,
  """ + ",\n  ".join(
    f"{name} = CASE WHEN '{name}' = ANY ($9::text[]) THEN excluded.{name} ELSE meters.{name} END" for name in _OPTIONAL
)
METERS_LEFT = """
INSERT INTO former_accounts (device_id, account_no, since, until)
SELECT DISTINCT ON (m.device_id) m.device_id, m.account_no, m.account_since, coalesce(nullif(t.account_since, '')::timestamptz, now())
FROM unnest($1::text[], $2::text[], $3::text[]) AS t (device_id, account_no, account_since)
JOIN meters m ON m.device_id = t.device_id::uuid
WHERE m.account_no <> t.account_no ORDER BY m.device_id
ON CONFLICT (device_id, until) DO NOTHING
"""
"""Before METERS_IMPORT, in one transaction with it: whose the meters were until now."""
LOCAL_TIME = "SELECT now() AT TIME ZONE $1::text"
"""Fails for a time zone that the database doesn't know."""

VERSION = "SELECT version()"
SCHEMA_VERSION = "SELECT version_num FROM alembic_version WHERE NOT EXISTS (SELECT 1 FROM readings LIMIT 0)"
"""Of a schema whose readings can be read too."""
ARRAYS = "SELECT NULL::uuid[], NULL::timestamptz[], NULL::bool[]"
"""Teaches a session the types of a batch's columns: the driver asks the server what an array is, once per session."""

PROMISES = """
SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('transaction_read_only') AS read_only
"""
WAL_MARK = "SELECT pg_logical_emit_message(true, 'energy', '')"
"""A WAL record that means nothing, so that the COMMIT of a transaction that only found rows waits for the standby too."""
REPLICA_LAG = """
SELECT CASE
  WHEN NOT pg_is_in_recovery() THEN 0
  WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT 1 FROM pg_stat_wal_receiver) THEN 0
  ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 1e9) END::float8 AS lag_s
"""

POSTGRES_ONLY = frozenset(
    {
        "ONE_VIEW",
        "IN_THE_ORDER_OF_THE_DISK",
        "IN_THE_ORDER_OF_AN_INDEX",
        "NOT_WAITING",
        "PROMISES",
        "WAL_MARK",
        "REPLICA_LAG",
    }
)
"""Statements that are never sent to CockroachDB."""
COCKROACH_ONLY = frozenset({"HISTORY_OF_DEVICE_FROM_FOLLOWER", "HISTORY_OF_ACCOUNT_FROM_FOLLOWER"})
"""Statements that are never sent to PostgreSQL."""


def all_statements() -> dict[str, str]:
    """Every statement by its name."""
    return {
        name: value for name, value in globals().items() if name.isupper() and isinstance(value, str) and name[0] != "_"
    }
