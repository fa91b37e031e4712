# KEDA beside the operator: what each does with the same window, and what they do on one object.
.PHONY: compare-keda
compare-keda: $(VENV)/ready ## Play the same window with KEDA and with the operator; writes docs/comparison.md (root, Go; 25 minutes)
	@$(BIN)/python -m tools.keda $(PARTS)

.PHONY: test-keda
test-keda: $(VENV)/ready ## The operator on HPAs and ScaledObjects of a KEDA that runs (builds it once, five minutes)
	@$(HARNESS) tool keda >/dev/null
	@ENERGY_REQUIRE_CLUSTER=1 $(BIN)/pytest -q tests/cluster/test_keda.py
