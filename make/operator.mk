# The operator `prescaler`: its tests on a real API server, and a plan to look at.
.PHONY: test-operator
test-operator: $(VENV)/ready ## The operator: planner, command line, and everything on a real API server
	@ENERGY_REQUIRE_CLUSTER=1 $(BIN)/pytest -q tests/unit/prescaler tests/cluster/operator

.PHONY: crd
crd: $(VENV)/ready ## Print the resource definition of BillingWindow
	@$(BIN)/prescaler crd
