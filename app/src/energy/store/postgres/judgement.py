"""The rules of `domain/checks.py` as SQL: what the statements that store, review and judge again have in common.

It exists because the database can compare a thousand readings with their neighbours without a round trip each. What a
statement costs is decided by its form (docs/adr/0008): steps end in `OFFSET 0`, which keeps the planner from copying an
expression to every place that uses it, and costs less than a step that is materialized; what the service knows (the limit of the
future, a batch without two readings of one line) is not worked out in the database.

The look-ups are one entry each of the index `readings_history`: the reading before; the reading after, only for rows that a
person may be asked about; and, when judging again, the moment after. Rows of the same batch are
compared with those that are sure to be stored, not with those that a person may still be asked about.
"""

from __future__ import annotations

_CAPACITY = "(ARRAY[10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000]::numeric[])[m.digits]"
"""One more than a counter of so many digits shows: looked up, because a power is worked out for longer than all else."""


def _against(value: str, at: str, previous: str, previous_at: str, spike: str) -> str:
    """`checks.against_previous`; NULL when nothing is wrong or there is no previous one. Needs `capacity` and `multiplier`."""
    consumption = f"({value} - {previous}) * coalesce(multiplier, 1)"
    return f"""CASE
    WHEN {previous_at} IS NULL THEN NULL
    WHEN {previous_at} = {at} THEN 'same_time'
    WHEN {value} < {previous} THEN
      CASE WHEN {previous} < capacity AND {previous} >= capacity * 0.9 AND {value} < capacity * 0.1 THEN 'rollover'
           ELSE 'less_than_previous' END
    WHEN {consumption} > {spike}::numeric
     AND {consumption} * 86400 > {spike}::numeric * extract(epoch FROM ({at} - {previous_at}))::numeric THEN 'spike'
  END"""


def _nearest(row: str, side: str, pick: str, but: str) -> str:
    """Time and value of the nearest reading on that side of `row`, without the one with the id `but`.

    By time, and at the same time by value, unless the time is only that of the arrival (`received_at`). In two steps: the
    index is ordered by time only, and a sort by time and value would read thirty rows for one.
    """

    def on_that_side(r: str) -> str:
        return (
            f"{r}.device_id = {row}.device_id AND {r}.register = {row}.register AND {r}.status <> 'superseded'"
            f" AND ({r}.read_at {side} {row}.read_at OR {row}.read_at <> {row}.received_at AND {r}.value {side} {row}.value)"
            + (f" AND {r}.reading_id IS DISTINCT FROM {but}" if but else "")
        )

    return f"""
    SELECT r.read_at, (SELECT {pick}(s.value) FROM readings s WHERE s.read_at = r.read_at AND {on_that_side("s")}) AS value
    FROM readings r
    WHERE r.read_at {side}= {row}.read_at AND {on_that_side("r")}"""  # noqa: S608 - constants only


def _before(row: str, but: str = "") -> str:
    """The last one before `row`. It counts if the meter was installed by then."""
    return f"""{_nearest(row, "<", "max", but)}
    ORDER BY r.read_at DESC LIMIT 1"""


def _after(row: str, but: str = "") -> str:
    """The first one after it, where that one would be compared with it and somebody can be asked."""
    return f"""{_nearest(row, ">", "min", but)}
      AND {row}.ask AND {row}.read_at >= coalesce(m.installed_at, '-infinity'::timestamptz)
    ORDER BY r.read_at LIMIT 1"""


_COLUMNS = "device_id, reading_id, register, value, read_at, received_at, source, ask, key_id"
_ASKING = """
), asking AS (
  SELECT i.*, ask AND (device_id, register) IN (SELECT device_id, register FROM input WHERE NOT ask) AS beside_sure FROM input i"""
_SIBLING = """
  LEFT JOIN LATERAL (
    SELECT s.value, s.read_at FROM input s
    WHERE i.beside_sure AND NOT s.ask AND s.device_id = i.device_id AND s.register = i.register
      AND (s.read_at < i.read_at OR s.read_at = i.read_at AND i.read_at <> i.received_at AND s.value < i.value)
      AND NOT EXISTS (SELECT 1 FROM readings x WHERE x.device_id = s.device_id AND x.reading_id = s.reading_id)
    ORDER BY s.read_at DESC, s.value DESC LIMIT 1
  ) s ON true
  WINDOW earlier AS (PARTITION BY i.device_id, i.register, i.ask
                     ORDER BY i.read_at, CASE WHEN i.read_at <> i.received_at THEN i.value END
                     RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP)"""
_SIBLING_COLUMNS = """,
         CASE WHEN i.ask THEN s.value ELSE last_value(i.value) OVER earlier END AS sibling_value,
         CASE WHEN i.ask THEN s.read_at ELSE last_value(i.read_at) OVER earlier END AS sibling_at"""
_PLACED = """
), placed AS (
  SELECT k.*, sibling_at >= since AND (stored_at IS NULL OR (sibling_at, sibling_value) > (stored_at, stored_value))
           AS by_sibling
  FROM known k"""


def _judged(*, beside: bool) -> str:
    """The rows of a batch, judged. Not `beside`: no line occurs twice in it, and none of its rows corrects another."""
    but = "$10::uuid" if beside else ""
    of_known = "CASE WHEN by_sibling THEN sibling_{0} ELSE stored_{0} END" if beside else "stored_{0}"
    return f"""
WITH input AS (
  SELECT device_id, reading_id, register, value::numeric(12,3) AS value, read_at, received_at, source, ask,
         nullif(key_id, '') AS key_id
  FROM unnest($1::uuid[], $2::uuid[], string_to_array($3::text, ','), string_to_array($4::text, ','), $5::timestamptz[],
              $6::timestamptz[], string_to_array($7::text, ','), $8::bool[], string_to_array($9::text, ','))
       AS t ({_COLUMNS}) OFFSET 0{_ASKING if beside else ""}
), known AS (
  SELECT i.{_COLUMNS.replace(" ", " i.")},
         m.decimals, m.multiplier, m.removed_at, {_CAPACITY} AS capacity,
         coalesce(m.installed_at, '-infinity'::timestamptz) AS since, m.device_id IS NOT NULL AS matched,
         (i.read_at AT TIME ZONE coalesce(a.time_zone, $11::text))::date AS local_day,
         p.value AS stored_value, p.read_at AS stored_at, n.value AS next_value, n.read_at AS next_at{_SIBLING_COLUMNS if beside else ""}
  FROM {"asking" if beside else "input"} i
  LEFT JOIN meters m ON m.device_id = i.device_id
  LEFT JOIN accounts a ON a.account_no = m.account_no
  LEFT JOIN LATERAL ({_before("i", but)}
  ) p ON p.read_at >= coalesce(m.installed_at, '-infinity'::timestamptz)
  LEFT JOIN LATERAL ({_after("i", but)}
  ) n ON true{_SIBLING if beside else ""}
  OFFSET 0{_PLACED if beside else ""}
), compared AS (
  SELECT k.*, {of_known.format("value")} AS previous_value, {of_known.format("at")} AS previous_at,
         date_part('day', local_day)::int AS day
  FROM {"placed" if beside else "known"} k OFFSET 0
), flagged AS (
  SELECT {_COLUMNS}, matched, previous_value, previous_at, next_value, next_at,
         CASE WHEN day > $15::int THEN (local_day - day + 1 + '1 month'::interval)::date ELSE local_day - day + 1 END AS period,
         {_against("value", "read_at", "previous_value", "previous_at", "$13")} AS against_previous,
         {_against("next_value", "next_at", "value", "read_at", "$13")} AS next_against,
         CASE WHEN value >= capacity OR value <> round(value, decimals) THEN 'beyond_counter' END AS beyond,
         CASE WHEN read_at > $12::timestamptz THEN 'future' END AS future,
         CASE WHEN day > $15::int OR day < $14::int AND date_part('day', local_day + 1) > 1 THEN 'out_of_window' END AS outside,
         CASE WHEN read_at > removed_at THEN 'after_removal' END AS removed
  FROM compared OFFSET 0
), judged AS (
  SELECT {_COLUMNS}, period, previous_value, previous_at, next_value, next_at,
         concat_ws(',', CASE WHEN NOT matched THEN 'unmatched' END, against_previous, beyond, future, outside, removed) AS flags,
         CASE next_against WHEN 'less_than_previous' THEN 'more_than_next' WHEN 'rollover' THEN NULL ELSE next_against END AS of_next,
         ask AND (against_previous IS NOT NULL OR beyond IS NOT NULL OR future IS NOT NULL OR removed IS NOT NULL
                  OR coalesce(next_against, 'rollover') <> 'rollover') AS doubtful
  FROM flagged OFFSET 0
)
"""  # noqa: S608 - constants only


JUDGED = _judged(beside=False)
"""Input rows with their period, flags, neighbours, and whether a person has to be asked first.

A day of the window that a month doesn't have is its last day: no day is after it, and none before it but the last.
"""
JUDGED_BESIDE = _judged(beside=True)
"""The same of any batch: its rows are compared with each other too, and not with the one that `$10` names."""

REJUDGED = f"""
WITH place AS (
  SELECT t.device_id, coalesce(nullif(t.register, ''), k.register) AS register, coalesce(t.read_at, k.read_at) AS read_at
  FROM unnest($1::uuid[], $2::uuid[], string_to_array($3::text, ','), $4::timestamptz[]) AS t (device_id, reading_id, register, read_at)
  LEFT JOIN LATERAL (
    SELECT r.register, r.read_at FROM readings r
    WHERE t.read_at IS NULL AND r.device_id = t.device_id AND r.reading_id = t.reading_id LIMIT 1
  ) k ON true OFFSET 0
), touched AS (
  SELECT x.* FROM place o CROSS JOIN LATERAL (
    SELECT x.device_id, x.reading_id, x.register, x.value, x.read_at, x.received_at, x.flags FROM readings x
    WHERE x.device_id = o.device_id AND x.register = o.register AND x.status <> 'superseded' AND x.read_at >= o.read_at
      AND x.read_at <= coalesce((
        SELECT n.read_at FROM readings n
        WHERE n.device_id = o.device_id AND n.register = o.register AND n.read_at > o.read_at AND n.status <> 'superseded'
        ORDER BY n.read_at LIMIT 1), o.read_at)
  ) x OFFSET 0
), rejudged AS (
  SELECT x.device_id, x.reading_id, x.flags AS old_flags, concat_ws(',',
           CASE WHEN x.flags LIKE 'unmatched%' THEN 'unmatched' END,
           CASE WHEN p.read_at >= coalesce(m.installed_at, '-infinity'::timestamptz)
                THEN {_against("x.value", "x.read_at", "p.value", "p.read_at", "$5")} END,
           CASE WHEN x.flags NOT IN ('', 'unmatched') THEN
             nullif(regexp_replace(x.flags, '^(unmatched,?)?((less_than_previous|spike|rollover|same_time),?)?', ''), '') END) AS flags
  FROM touched x
  LEFT JOIN LATERAL ({_before("x")}
  ) p ON true
  LEFT JOIN LATERAL (
    SELECT {_CAPACITY} AS capacity, m.multiplier, m.installed_at FROM meters m
    WHERE p.read_at IS NOT NULL AND m.device_id = x.device_id LIMIT 1
  ) m ON true
  OFFSET 0
)
"""  # noqa: S608 - constants only
"""Rows around the given places with the flags they should have: those at their moments, and those at the moments after.

A reading whose register and time are not given has its place looked up.
"""
