# The chart: rendered manifests, its README, and the tests. Programs come from the pinned tools of tests/cluster.
.PHONY: render
render: $(VENV)/ready ## Write k8s/ and the chart's README and copied files from their sources
	@PYTHONPATH=tests $(BIN)/python -m chart.render

.PHONY: test-chart
test-chart: $(VENV)/ready ## The chart: lint, schemas, refusals, drift, and a real API server
	@$(BIN)/pytest -q -m "cluster or not cluster" tests/chart
