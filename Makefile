# Two commands do everything: `make run` starts the service, `make test` passes the tests. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
export PATH := $(CURDIR)/$(BIN):$(PATH)

SOURCES := app operator/src tools tests loadtest docs/site
TESTS := $(patsubst %/,%,$(filter-out tests/__pycache__/,$(wildcard tests/*/)))

.PHONY: help
help: ## This list
	@test -t 1 && colour='36' || colour=''; grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sort | \
	  awk -F ':.*## ' -v colour="$$colour" '{printf (colour ? "  \033[" colour "m%-18s\033[0m %s\n" : "  %-18s %s\n"), $$1, $$2}'

# ── the environment ──────────────────────────────────────────────────────────────────────────────

$(VENV)/ready: requirements/dev.txt requirements/bootstrap.txt app/pyproject.toml operator/pyproject.toml
	@test -x $(BIN)/python || { $(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "energy: needs Python 3.11 or newer with its venv module; found: $$($(PYTHON) --version 2>&1)." \
	    "Install it (Debian: apt-get install python3-venv) or name one with PYTHON=..." >&2; exit 1; }; \
	  $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e app -e operator
	@touch $@

.PHONY: setup
setup: $(VENV)/ready ## Make the environment (.venv) from the hash-pinned requirement files

.PHONY: lock
lock: $(VENV)/ready ## Pin requirements/*.in anew into requirements/*.txt, with hashes
	@cd requirements && for name in bootstrap app embedded operator dev site; do \
	  ../$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(LOCK_FLAGS) $$name.in -o $$name.txt; done

# ── the service ──────────────────────────────────────────────────────────────────────────────────

.PHONY: run
run: $(VENV)/ready ## Start the service on 127.0.0.1:8000 with its own PostgreSQL (data in build/data)
	@mkdir -p build
	@test -n "$${ENERGY_DATABASE_URL:-}" -o -e "$${ENERGY_DATA_DIR:-build/data}" || $(MAKE) --no-print-directory sample
	@ENERGY_AUTH="$${ENERGY_AUTH:-off}" ENERGY_DATA_DIR="$${ENERGY_DATA_DIR:-build/data}" exec $(BIN)/energy serve

.PHONY: sample
sample: $(VENV)/ready ## A dozen meters with their last readings into build/data: what a first `make run` begins with
	@for kind in meters readings; do \
	  ENERGY_DATA_DIR="$${ENERGY_DATA_DIR:-build/data}" $(BIN)/energy import $$kind docs/sample/$$kind.csv || exit 1; done

# ── the gates ────────────────────────────────────────────────────────────────────────────────────

.PHONY: lint
lint: $(VENV)/ready ## ruff, mypy (strict) and the directions of the layers
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy app/src operator/src tools loadtest tests/conftest.py $(TESTS)
	@$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/ready ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

.PHONY: test
test: lint ## Everything that needs no root, Docker or Go: lint, then the tests (under five minutes)
	@$(BIN)/pytest -q -rfE --durations=10 -m "not slow" $(WORKERS)
	@echo "Skipped: the tests that need a Kubernetes; they run with \`make test-cluster\`. Power cuts run where root, FUSE and libfuse3 are."

# Two at a time, a file in one of them: most of a test's time is waiting. One after another (WORKERS=) suits a debugger.
WORKERS ?= -n2 --dist=loadfile

.PHONY: fuzz
fuzz: $(VENV)/ready ## New cases for the tests that draw theirs, for FUZZ_S seconds; prints how to repeat a failure
	@FUZZ_S=$(FUZZ_S) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m tools.fuzz

.PHONY: same-cases
same-cases: $(VENV)/ready ## Two runs of the gate have the same tests and cases
	@$(BIN)/python -m tools.same_cases

.PHONY: clean
clean: ## Remove what was built; keeps build/data
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(VENV)
	@test ! -d build || find build -mindepth 1 -maxdepth 1 ! -name data -exec rm -rf {} +

include $(wildcard make/*.mk)
