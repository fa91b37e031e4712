# The Kubernetes that tests and people use: CLUSTER=local (this machine, no Docker) or CLUSTER=kind.
CLUSTER ?= local
NODES ?= 1
KIND_NAME := energy
KIND_NODE := kindest/node:v1.34.0
METRICS_SERVER := https://github.com/kubernetes-sigs/metrics-server/releases/download/v0.8.0/components.yaml
HARNESS = $(BIN)/python -m tools.cluster

# Which cluster `make install`, `make load-cluster` and `make e2e` speak to; the recipes that need one say $(ON_CLUSTER).
ifeq ($(CLUSTER),kind)
CLUSTER_UP := kind-up
IMAGES_IN := kind-images
LOAD_INTO := kind load image-archive --name $(KIND_NAME)
ON_CLUSTER = export KUBECONFIG="$$(mktemp)"; kind get kubeconfig --name $(KIND_NAME) >"$$KUBECONFIG";
else
CLUSTER_UP := cluster-up
IMAGES_IN := cluster-images
LOAD_INTO = $(HARNESS) load
ON_CLUSTER = eval "$$($(HARNESS) status)"; export PATH="$$(dirname "$$($(HARNESS) tool kubectl)"):$$PATH";
endif

.PHONY: cluster-tools
cluster-tools: $(VENV)/ready ## Build the pinned Kubernetes and its tools (20 minutes once, then nothing)
	@$(HARNESS) tools

.PHONY: cluster-up
cluster-up: $(VENV)/ready ## Start a Kubernetes on this machine (root; NODES=3 for three nodes) and print its KUBECONFIG
	@$(HARNESS) up --nodes $(NODES)

.PHONY: cluster-down
cluster-down: $(VENV)/ready ## End it and leave no trace
	@$(HARNESS) down

.PHONY: cluster-status
cluster-status: $(VENV)/ready ## Its nodes and its KUBECONFIG
	@$(HARNESS) status

# Faults for people, as the tests have them. NODE=1 to NODES.
NODE ?= 2
.PHONY: cluster-cut cluster-kill cluster-heal cluster-drain
cluster-cut: $(VENV)/ready ## Pull the network cable of NODE=2
	@$(HARNESS) cut $(NODE)

cluster-kill: $(VENV)/ready ## Switch NODE=2 off: all its processes and pods end at once
	@$(HARNESS) kill $(NODE)

cluster-drain: $(VENV)/ready ## Send the pods of NODE=2 elsewhere, within their budgets
	@$(HARNESS) drain $(NODE)

cluster-heal: $(VENV)/ready ## End what cluster-cut, cluster-kill and cluster-drain did to NODE=2
	@$(HARNESS) heal $(NODE)

.PHONY: images
images: $(VENV)/ready ## Build both images into build/images (Docker, or buildah where there is none)
	@$(HARNESS) images

.PHONY: sbom
sbom: images ## List what is in both images (CycloneDX) in build/images/*.cdx.json
	@$(BIN)/python -m tools.sbom build/images/energy.tar build/images/energy-prescaler.tar

.PHONY: test-images
test-images: $(VENV)/ready ## The images: what is in them, and that a second build has the same digest (five minutes)
	@$(HARNESS) images
	@ENERGY_REQUIRE_CLUSTER=1 $(BIN)/pytest -q -m "slow or not slow" tests/cluster/images

.PHONY: cluster-images
cluster-images: images ## Build both images and put them into the nodes
	@$(HARNESS) load build/images/energy.tar build/images/energy-prescaler.tar

.PHONY: test-cluster
test-cluster: $(VENV)/ready ## The tests that need a Kubernetes: builds what is missing, then runs them (root for the nodes)
	@SECONDS=0; $(HARNESS) tools; echo "tools: $$SECONDS s"; \
	  from=$$SECONDS; $(HARNESS) images; echo "images: $$((SECONDS - from)) s"; \
	  from=$$SECONDS; $(BIN)/pytest -q -rfE -m "cluster and not slow" --durations=15 $(PYTEST_FLAGS); echo "cluster tests: $$((SECONDS - from)) s"

.PHONY: test-cnpg
test-cnpg: $(VENV)/ready ## PostgreSQL by CloudNativePG loses its primary, a node and its operator under load (root, Go; 20 minutes, the first time more)
	@$(HARNESS) tool manager >/dev/null
	@ENERGY_REQUIRE_CLUSTER=1 $(BIN)/pytest -q -s -rfE tests/cluster/chart/test_cloudnativepg.py && cp build/cnpg.json docs/measured

.PHONY: kind-up
kind-up: ## Start a kind cluster with three workers and metrics-server (needs Docker, kind and kubectl)
	@kind create cluster --name $(KIND_NAME) --image $(KIND_NODE) --config kind-config.yaml
	@kubectl --context kind-$(KIND_NAME) apply -f $(METRICS_SERVER)
	@kubectl --context kind-$(KIND_NAME) -n kube-system patch deployment metrics-server --type=json \
	  -p '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]'

.PHONY: kind-offline
kind-offline: $(VENV)/ready ## The same targets on a kind and a Docker of their own, without any registry (root, Go)
	@$(BIN)/python -m tools.kind $(or $(TARGETS),kind-up install e2e load-cluster kind-down)

.PHONY: kind-down
kind-down: ## End the kind cluster
	@kind delete cluster --name $(KIND_NAME)

.PHONY: kind-images
kind-images: images ## Build both images and put them into the kind nodes
	@kind load image-archive --name $(KIND_NAME) build/images/energy.tar
	@kind load image-archive --name $(KIND_NAME) build/images/energy-prescaler.tar
