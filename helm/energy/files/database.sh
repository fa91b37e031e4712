#!/bin/sh
# Makes the database and its users as root, as soon as CockroachDB answers. Running it again changes nothing.
# COCKROACH_HOST and COCKROACH_CERTS_DIR come from the pod; LICENCE, if any, from a Secret.
set -eu

until /cockroach/cockroach sql --execute='SELECT 1' >/dev/null; do
  echo "waiting for CockroachDB at $COCKROACH_HOST"
  sleep 2
done
/cockroach/cockroach sql --file=/scripts/database.sql
/cockroach/cockroach sql --file=/scripts/settings.sql
if [ -n "${LICENCE:-}" ]; then
  # Over standard input: arguments are visible to every process of the node.
  printf "SET CLUSTER SETTING enterprise.license = '%s';\n" "$LICENCE" | /cockroach/cockroach sql
fi
if [ -n "${BACKUP_INTO:-}" ]; then
  printf "CREATE SCHEDULE IF NOT EXISTS energy FOR BACKUP DATABASE energy INTO '%s' RECURRING '%s' FULL BACKUP '%s'
    WITH SCHEDULE OPTIONS first_run = 'now', updates_cluster_last_backup_time_metric;\n" \
    "$BACKUP_INTO" "$BACKUP_EVERY" "$BACKUP_FULL" | /cockroach/cockroach sql
fi
