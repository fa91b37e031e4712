"""The rules of `domain/checks.py` as SQL: what the statements that store, review and judge again have in common.

It exists because the database can compare a thousand readings with their neighbours without a round trip each. Two steps are
MATERIALIZED: inlined, each expression would be copied to every place that uses it, and a batch of two rows was planned for
longer than it ran.

Three look-ups, each one entry of the index `readings_history`: the reading before; the reading after, only for rows that a
person may be asked about; and, when judging again, the moment after. Rows of the same batch are
compared with those that are sure to be stored, not with those that a person may still be asked about.
"""

from __future__ import annotations


def _against(value: str, at: str, previous: str, previous_at: str, spike: str) -> str:
    """`checks.against_previous`; NULL when nothing is wrong or there is no previous one. Needs `digits` and `multiplier`."""
    return f"""CASE
    WHEN {previous_at} = {at} THEN 'same_time'
    WHEN {value} < {previous} THEN
      CASE WHEN {previous} < power(10::numeric, digits::numeric) AND {previous} >= power(10::numeric, digits::numeric) * 0.9
            AND {value} < power(10::numeric, digits::numeric) * 0.1 THEN 'rollover' ELSE 'less_than_previous' END
    WHEN ({value} - {previous}) * coalesce(multiplier, 1) > {spike}::text::numeric
         * greatest(extract(epoch FROM ({at} - {previous_at}))::numeric / 86400, 1) THEN 'spike'
  END"""


def _before(row: str, but: str = "NULL::uuid") -> str:
    """Time and value of the last reading before `row` since its meter `m` was installed, without the one with the id `but`."""
    return f"""{_nearest(row, but, "<", "max")} AND r.read_at >= coalesce(m.installed_at, '-infinity'::timestamptz)
    ORDER BY r.read_at DESC LIMIT 1"""


def _after(row: str, but: str) -> str:
    """The same of the first one after it, where that one would be compared with it and somebody can be asked."""
    return f"""{_nearest(row, but, ">", "min")}
      AND {row}.ask AND {row}.read_at >= coalesce(m.installed_at, '-infinity'::timestamptz)
    ORDER BY r.read_at LIMIT 1"""


def _nearest(row: str, but: str, side: str, pick: str) -> str:
    """By time, and at the same time by value, unless the time is only that of the arrival (`received_at`).

    In two steps: the index is ordered by time only, and a sort by time and value would read thirty rows for one.
    """

    def on_that_side(r: str) -> str:
        return (
            f"{r}.device_id = {row}.device_id AND {r}.register = {row}.register AND {r}.status <> 'superseded'"
            f" AND {r}.reading_id IS DISTINCT FROM {but}"
            f" AND ({r}.read_at {side} {row}.read_at OR {row}.read_at <> {row}.received_at AND {r}.value {side} {row}.value)"
        )

    return f"""
    SELECT r.read_at, (SELECT {pick}(s.value) FROM readings s WHERE s.read_at = r.read_at AND {on_that_side("s")}) AS value
    FROM readings r
    WHERE r.read_at {side}= {row}.read_at AND {on_that_side("r")}"""  # noqa: S608 - constants only


JUDGED = f"""
WITH input AS (
  SELECT ord, device_id::uuid AS device_id, reading_id::uuid AS reading_id, register, value::numeric(12,3) AS value,
         read_at::timestamptz AS read_at, received_at::timestamptz AS received_at, source, ask = '1' AS ask,
         nullif(supersedes, '')::uuid AS supersedes, nullif(key_id, '') AS key_id
  FROM unnest(string_to_array($1::text, ','), string_to_array($2::text, ','), string_to_array($3::text, ','),
              string_to_array($4::text, ','), string_to_array($5::text, ','), string_to_array($6::text, ','),
              string_to_array($7::text, ','), string_to_array($8::text, ','), string_to_array($9::text, ','),
              string_to_array($10::text, ','))
       WITH ORDINALITY AS t (device_id, reading_id, register, value, read_at, received_at, source, ask, supersedes, key_id, ord)
), asking AS (
  SELECT i.*, ask AND (device_id, register) IN (SELECT device_id, register FROM input WHERE NOT ask) AS beside_sure FROM input i
), known AS (
  SELECT i.*, m.digits, m.decimals, m.multiplier, m.removed_at,
         coalesce(m.installed_at, '-infinity'::timestamptz) AS since, m.device_id IS NOT NULL AS matched,
         i.read_at AT TIME ZONE coalesce(a.time_zone, $11::text) AS local_at,
         CASE WHEN i.ask THEN s.value ELSE last_value(i.value) OVER earlier END AS sibling_value,
         CASE WHEN i.ask THEN s.read_at ELSE last_value(i.read_at) OVER earlier END AS sibling_at,
         p.value AS stored_value, p.read_at AS stored_at, n.value AS next_value, n.read_at AS next_at
  FROM asking i
  LEFT JOIN meters m ON m.device_id = i.device_id
  LEFT JOIN accounts a ON a.account_no = m.account_no
  LEFT JOIN LATERAL ({_before("i", "i.supersedes")}
  ) p ON true
  LEFT JOIN LATERAL ({_after("i", "i.supersedes")}
  ) n ON true
  LEFT JOIN LATERAL (
    SELECT s.value, s.read_at FROM input s
    WHERE i.beside_sure AND NOT s.ask AND s.device_id = i.device_id AND s.register = i.register
      AND (s.read_at < i.read_at OR s.read_at = i.read_at AND i.read_at <> i.received_at AND s.value < i.value)
      AND NOT EXISTS (SELECT 1 FROM readings x WHERE x.device_id = s.device_id AND x.reading_id = s.reading_id)
    ORDER BY s.read_at DESC, s.value DESC LIMIT 1
  ) s ON true
  WINDOW earlier AS (PARTITION BY i.device_id, i.register, i.ask
                     ORDER BY i.read_at, CASE WHEN i.read_at <> i.received_at THEN i.value END
                     RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP)
), placed AS (
  SELECT k.*, sibling_at >= since AND (stored_at IS NULL OR (sibling_at, sibling_value) > (stored_at, stored_value))
           AS by_sibling
  FROM known k
), compared AS MATERIALIZED (
  SELECT k.*,
         CASE WHEN by_sibling THEN sibling_value ELSE stored_value END AS previous_value,
         CASE WHEN by_sibling THEN sibling_at ELSE stored_at END AS previous_at,
         date_trunc('month', local_at) AS month, extract(day FROM local_at)::int AS day,
         extract(day FROM date_trunc('month', local_at) + '1 month'::interval - '1 day'::interval)::int AS last_day
  FROM placed k
), flagged AS (
  SELECT c.*,
         CASE WHEN day > least($16::int, last_day) THEN month + '1 month'::interval ELSE month END::date AS period,
         {_against("value", "read_at", "previous_value", "previous_at", "$14")} AS against_previous,
         {_against("next_value", "next_at", "value", "read_at", "$14")} AS next_against,
         CASE WHEN value >= power(10::numeric, digits::numeric) OR value <> round(value, decimals) THEN 'beyond_counter' END AS beyond,
         CASE WHEN read_at > $12::text::timestamptz + $13::text::interval THEN 'future' END AS future,
         CASE WHEN day < least($15::int, last_day) OR day > least($16::int, last_day) THEN 'out_of_window' END AS outside,
         CASE WHEN read_at > removed_at THEN 'after_removal' END AS removed
  FROM compared c
), judged AS MATERIALIZED (
  SELECT f.*,
         concat_ws(',', CASE WHEN NOT matched THEN 'unmatched' END, against_previous, beyond, future, outside, removed) AS flags,
         CASE next_against WHEN 'less_than_previous' THEN 'more_than_next' WHEN 'rollover' THEN NULL ELSE next_against END AS of_next,
         ask AND (against_previous IS NOT NULL OR beyond IS NOT NULL OR future IS NOT NULL OR removed IS NOT NULL
                  OR coalesce(next_against, 'rollover') <> 'rollover') AS doubtful
  FROM flagged f
)
"""  # noqa: S608 - constants only
"""Input rows with their period, flags, neighbours, and whether a person has to be asked first."""

REJUDGED = f"""
WITH place AS (
  SELECT DISTINCT r.device_id, r.register, r.read_at
  FROM unnest(string_to_array($1::text, ','), string_to_array($2::text, ',')) AS t (device_id, reading_id)
  JOIN readings r ON r.device_id = t.device_id::uuid AND r.reading_id = t.reading_id::uuid
), moment AS (
  SELECT device_id, register, read_at FROM place
  UNION
  SELECT p.device_id, p.register, n.read_at FROM place p CROSS JOIN LATERAL (
    SELECT r.read_at FROM readings r
    WHERE r.device_id = p.device_id AND r.register = p.register AND r.read_at > p.read_at AND r.status <> 'superseded'
    ORDER BY r.read_at LIMIT 1
  ) n
), touched AS (
  SELECT x.device_id, x.reading_id, x.value, x.read_at, x.received_at, x.flags AS old_flags, m.digits, m.multiplier,
         p.value AS previous_value, p.read_at AS previous_at
  FROM moment o
  JOIN readings x ON x.device_id = o.device_id AND x.register = o.register AND x.read_at = o.read_at AND x.status <> 'superseded'
  LEFT JOIN meters m ON m.device_id = x.device_id
  LEFT JOIN LATERAL ({_before("x")}
  ) p ON true
), rejudged AS (
  SELECT device_id, reading_id, concat_ws(',',
           CASE WHEN old_flags LIKE 'unmatched%' THEN 'unmatched' END,
           {_against("value", "read_at", "previous_value", "previous_at", "$3")},
           nullif(regexp_replace(old_flags, '^(unmatched,?)?((less_than_previous|spike|rollover|same_time),?)?', ''), '')) AS flags
  FROM touched
)
"""  # noqa: S608 - constants only
"""Rows around the given readings with the flags they should have: those at their moments, and those at the moments after."""
