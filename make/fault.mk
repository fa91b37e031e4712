# Faults: the rounds of `make test`, and many more of them. Figures of the power cuts are added to build/power-cuts.jsonl.
FAULT_SEEDS ?= 60
POWER_CUTS ?= 50

.PHONY: test-faults
test-faults: $(VENV)/ready ## kill -9 and power cuts under load, FAULT_SEEDS=60 and POWER_CUTS=50 rounds, and every other fault
	@FAULT_SEEDS=$(FAULT_SEEDS) POWER_CUTS=$(POWER_CUTS) $(BIN)/pytest -q -m "slow or not slow" --durations=10 tests/fault

.PHONY: simulate
simulate: $(VENV)/ready ## Histories of the intake on a virtual clock for SIM_S=60 s (or SIM_COUNT of them); SIM_SEED=N tells one
	@PYTHONPATH=tests SIM_S=$(SIM_S) SIM_COUNT=$(SIM_COUNT) SIM_SEED=$(SIM_SEED) $(BIN)/python -m tools.simulate
