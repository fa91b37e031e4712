# The chart: rendered manifests, its README, and the tests. Programs come from the pinned tools of tools/cluster.
.PHONY: render
render: $(VENV)/ready ## Write k8s/ and the chart's README and copied files from their sources
	@$(BIN)/python -m tools.render

.PHONY: test-chart
test-chart: $(VENV)/ready ## The chart: lint, schemas, refusals, drift, and a real API server
	@$(BIN)/pytest -q -m "cluster or not cluster" tests/chart

# The same commit gives the same bytes, so that a signature on one build holds for another.
CHART_VERSION = $(shell sed -n 's/^version: //p' helm/energy/Chart.yaml)
.PHONY: package
package: ## Pack the chart into build/energy-VERSION.tgz, the same bytes every time
	@mkdir -p build && cd helm && tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rw,go=r,a+X --mtime='2026-01-01 00:00Z' \
	  --exclude=energy/ci --exclude=energy/README.md.gotmpl --create energy | gzip --no-name > ../build/energy-$(CHART_VERSION).tgz

# `make install`: with ENERGY_DATABASE_URL on that database (as pods reach it), otherwise on one CockroachDB node (kind, which can pull it).
HELM = $(shell $(BIN)/python -m tools.cluster tool helm-v4)
# The NetworkPolicy lets pods out to the database's port: the one in the URL, else PostgreSQL's.
DATABASE_PORT = $$(sed -nE 's,^[a-z]+://([^/]*@)?[^/?]*:([0-9]+)([/?].*)?$$,\2,p' <<<"$$ENERGY_DATABASE_URL")
ON_DATABASE = $(if $(ENERGY_DATABASE_URL),--set database.kind=external --set database.external.existingSecret=energy-database \
  --set "database.external.ports={$${port:-5432}}",)
IN_ENERGY = --namespace energy

.PHONY: install
install: $(VENV)/ready ## Install the chart with the images of this checkout (CLUSTER=local needs ENERGY_DATABASE_URL)
	@test "$(CLUSTER)" = kind -o -n "$(ENERGY_DATABASE_URL)" || { echo "energy: this cluster can't pull CockroachDB." \
	  "Name a database that its pods reach in ENERGY_DATABASE_URL, or use CLUSTER=kind." >&2; exit 1; }
	@$(MAKE) --no-print-directory $(IMAGES_IN)
	@$(ON_CLUSTER) kubectl create namespace energy --dry-run=client -o yaml | kubectl apply -f - >/dev/null; \
	  test -z "$(ENERGY_DATABASE_URL)" || kubectl create secret generic energy-database $(IN_ENERGY) \
	    --from-literal=url="$(ENERGY_DATABASE_URL)" --dry-run=client -o yaml | kubectl apply -f - >/dev/null; \
	  port=$(DATABASE_PORT); \
	  $(HELM) upgrade --install energy helm/energy $(IN_ENERGY) --wait --timeout 10m --values helm/energy/ci/single-node-values.yaml \
	    --set app.image.tag=dev --set operator.image.tag=dev --set service.type=NodePort --set service.nodePort=30080 $(ON_DATABASE) $(HELM_FLAGS)

.PHONY: uninstall
uninstall: ## Take the release away again
	@$(ON_CLUSTER) $(HELM) uninstall energy $(IN_ENERGY) --wait

.PHONY: e2e
e2e: ## `helm test` on the installed release: a reading goes in and comes out again
	@$(ON_CLUSTER) $(HELM) test energy $(IN_ENERGY)

.PHONY: test-alerts
test-alerts: $(VENV)/ready ## The alerts in a real Prometheus that scrapes a real cluster, while things fail (root, Go; five minutes)
	@$(HARNESS) tool prometheus >/dev/null
	@ENERGY_REQUIRE_CLUSTER=1 $(BIN)/pytest -q -s -rfE tests/cluster/chart/test_alerts_fire.py tests/chart/test_prometheus.py && cp build/alerts.json docs/measured
