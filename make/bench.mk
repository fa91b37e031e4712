# What the service costs: measured in one run on one machine, and counted.

.PHONY: bench
bench: $(VENV)/ready ## Compare in one run: ceiling, strategies, whole path, batch, bare SQL (needs wrk); writes build/bench.json
	@$(BIN)/python -m tools.bench

.PHONY: bench-compare
bench-compare: $(VENV)/ready ## This checkout against BASE=commit, in pairs on one machine (needs wrk); writes build/bench-compare.json
	@BASE="$(BASE)" $(BIN)/python -m tools.bench.compare

.PHONY: walk
walk: $(VENV)/ready ## The functions and files that a reading, a batch and a BillingWindow pass through
	@PYTHONPATH=tests $(BIN)/python -m tools.walk
