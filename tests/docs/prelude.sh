# What stands before the commands of a page when a test runs them: they are run as they are written, only that `make run` goes
# to the background, on a port that the system chose, and `curl` finds it there and fails when the answer is a refusal.
set -euo pipefail
export ENERGY_PORT=0 NO_COLOR=1
serving=

stop() {
  test -z "$serving" || { kill "$serving" && wait "$serving"; } || true
  serving=
}
trap stop EXIT

make() {
  case "$*" in
    run) serve ;;
    test) echo "make test: this is the test" ;;
    *) command make -o .venv/ready "$@" ;; # the environment is there, whatever the clock says of its files
  esac
}

serve() {
  stop
  command make -o .venv/ready run >build/serve.log 2>&1 &
  serving=$!
  until address=$(sed -n 's,.*listens on http://\([0-9.:]*\)\,.*,\1,p' build/serve.log) && command curl -sf "$address/readyz" >/dev/null; do
    kill -0 "$serving" && ((SECONDS < 60)) || { cat build/serve.log; exit 1; }
    sleep 0.1
  done
}

curl() {
  command curl --silent --show-error --fail-with-body --max-time 30 "${@//127.0.0.1:8000/$address}"
}

