# The load lab. Settings are LOAD_* variables; the table is in docs/load.md.
LAB := $(BIN)/python -m loadtest
FLEET ?= build/fleet

.PHONY: load load-spike load-soak load-mixed load-month load-seed load-scale load-edge load-kill load-hostile compare fleet fleet-import measured load-report
load: $(VENV)/ready ## The task's peak for a minute, with a report (against LOAD_BASE_URLS, or an instance of its own)
	@$(LAB) run peak

# Generator, service and database share this machine, and two cores can't send ten times 1000 a second.
load-spike: $(VENV)/ready ## From 200 a second to ten times that, and back (LOAD_STRATEGY=sequential: more than it can store)
	@LOAD_RATE="$${LOAD_RATE:-200}" $(LAB) run spike

load-soak: $(VENV)/ready ## Writes and history reads for LOAD_DURATION_S (an hour unless said otherwise)
	@LOAD_DURATION_S="$${LOAD_DURATION_S:-3600}" LOAD_RATE="$${LOAD_RATE:-200}" $(LAB) run soak

load-mixed: $(VENV)/ready ## Writes at the peak beside history reads
	@$(LAB) run mixed

load-month: $(VENV)/ready $(FLEET)/k6.json ## A billing month squeezed into five minutes
	@LOAD_DURATION_S="$${LOAD_DURATION_S:-310}" LOAD_FLEET_FILE="$${LOAD_FLEET_FILE:-$(FLEET)/k6.json}" $(LAB) run month

load-seed: $(VENV)/ready ## The task's tests 1 to 4, against one replica and against five, and 3000 a second
	@$(LAB) seed-tests

load-scale: $(VENV)/ready ## Throughput against replicas (1, 2, 4) and batch sizes
	@$(LAB) scale

load-edge: $(VENV)/ready ## What a connection and a TLS handshake for each reading cost, against reused connections
	@$(LAB) edge

load-kill: $(VENV)/ready ## kill -9 of the service and of a PostgreSQL process under load, told and recorded (docs/images/kill.*)
	@$(LAB) kill && $(BIN)/python -m tools.cast docs/images/kill.*.cast

load-hostile: $(VENV)/ready ## 20 000 hostile requests beside 200 good clients: nothing lost, small memory, latency beside the quiet run
	@$(LAB) hostile

compare: $(VENV)/ready ## Write strategies and databases side by side; LOAD_COMPARE adds servers and databases by URL
	@$(LAB) compare

fleet: $(VENV)/ready ## Generate LOAD_METERS meters with their readings (CSV and k6 data) into build/fleet
	@$(LAB) fleet $(FLEET)

$(FLEET)/k6.json: | $(VENV)/ready
	@$(LAB) fleet $(FLEET)

fleet-import: $(VENV)/ready $(FLEET)/k6.json ## Import the generated fleet into LOAD_DATABASE_URL (or a database of its own), with the speed
	@$(LAB) fleet-import $(FLEET)

measured: $(VENV)/ready ## Copy the newest figures of bench and load to docs/measured, where the documents quote them
	@$(LAB) measured

load-report: $(VENV)/ready ## Make the report of RUN=build/load/... again, also of a run that died
	@$(LAB) report $(RUN)

SCRIPT ?= peak.js
.PHONY: load-cluster load-story
load-cluster: export LOAD_NAMESPACE ?= energy
load-cluster: export LOAD_IMAGE ?= energy-k6:dev
load-cluster: $(VENV)/ready ## k6 as a Job in the cluster, with a report: SCRIPT=peak.js, LOAD_NAMESPACE, LOAD_DATABASE_URL
	@$(LAB) image build/images/energy-k6.tar
	@$(LOAD_INTO) build/images/energy-k6.tar
	@$(ON_CLUSTER) HELM="$(HELM)" $(LAB) run-in-cluster $(basename $(SCRIPT))

load-story: $(VENV)/ready ## The whole month on the test cluster: fleet, operator, rush, killed pods, one report
	@$(BIN)/pytest -q -s -m "cluster and slow" tests/cluster/load
