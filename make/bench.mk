# What the service costs: measured in one run on one machine, and counted.

.PHONY: bench
bench: $(VENV)/ready ## All targets in one run (needs wrk); BENCH_PEER=URL: beside another server; writes build/bench.json
	@$(BIN)/python -m tools.bench

.PHONY: bench-years
bench-years: $(VENV)/ready ## What a person waits for beside 20 M readings of older months and 1000 a second; writes build/bench-years.json
	@$(BIN)/python -m tools.bench.years

.PHONY: bench-compare
bench-compare: $(VENV)/ready ## This checkout against BASE=commit, in pairs on one machine (needs wrk); writes build/bench-compare.json
	@BASE="$(BASE)" $(BIN)/python -m tools.bench.compare

.PHONY: walk
walk: $(VENV)/ready ## The functions and files that a reading, a batch and a BillingWindow pass through
	@PYTHONPATH=tests $(BIN)/python -m tools.walk

.PHONY: budget budget-accept
budget: $(VENV)/ready ## Count what one committed reading costs the service; fails at 3 % more than tools/bench/budget.json (valgrind)
	@$(BIN)/python -m tools.bench.budget

budget-accept: $(VENV)/ready ## What a reading costs now is what it may cost: writes tools/bench/budget.json
	@$(BIN)/python -m tools.bench.budget accept
