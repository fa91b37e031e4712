# Faults: the rounds of `make test`, and many more of them.
FAULT_SEEDS ?= 60

.PHONY: test-faults
test-faults: $(VENV)/ready ## kill -9 of the service and of PostgreSQL under load, FAULT_SEEDS=60 rounds, and every other fault
	@FAULT_SEEDS=$(FAULT_SEEDS) $(BIN)/pytest -q -m "slow or not slow" --durations=10 tests/fault
