# The only entry point: people and CI call these targets, and nothing else.

PYTHON ?= python3
WORKERS ?= 2

BIN := .venv/bin
SETUP := .venv/.setup
GOOGLEAPIS := .build/googleapis/.complete

MEMBER_FILES := $(wildcard protos/pyproject.toml services/*/pyproject.toml gateway/pyproject.toml \
                           plugins/*/pyproject.toml clients/cli/pyproject.toml)
MEMBERS := $(patsubst %/pyproject.toml,%,$(MEMBER_FILES))

# uv where there is one, else the one that setup puts into the environment.
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)

PYTEST = $(BIN)/python -m pytest
PARALLEL := -n $(WORKERS)
# For tests that share what takes long to start.
BY_FILE := --dist loadfile --no-loadscope-reorder

# Where Debian and its relatives keep PostgreSQL 15, the oldest that is supported.
OLDEST_POSTGRES := /usr/lib/postgresql/15/bin

export UV_NO_PROGRESS := 1

.DEFAULT_GOAL := help
.PHONY: help setup hooks demo run test test-integration test-oldest-postgres test-e2e test-faults test-all test-ci \
        check lint fmt proto breaking bench performance lock bump apt clean
.NOTPARALLEL:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the environment ----------------------------------------------------------------------------

setup: $(SETUP) ## Make .venv with everything that is needed; again only after a change

$(BIN)/python:
	@echo "Making .venv, which takes a minute"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  command -v uv >/dev/null && uv venv --quiet --python "$$(command -v $(PYTHON))" .venv; } || \
	  { echo "$(PYTHON) cannot make environments: install python3-venv, or uv"; exit 1; }

$(BIN)/uv: requirements/uv.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(SETUP): requirements/dev.txt $(MEMBER_FILES) | $(BIN)/python $(UV)
	@# pip's own configuration may know a mirror that uv does not.
	@echo "Installing what is needed into .venv"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS))
	@touch $@

hooks: $(SETUP) ## Check every commit before it is made
	$(BIN)/pre-commit install

apt: ## Install the system packages that test-ci uses (Debian and its relatives)
	@missing=; for package in $$(cat requirements/apt.txt); do \
	  dpkg -s "$$package" >/dev/null 2>&1 || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; else as_root=none; fi; \
	if [ "$$as_root" = none ] || ! command -v apt-get >/dev/null; then \
	  echo "cannot install system packages here; please install:$$missing"; exit 0; \
	fi; \
	$$as_root apt-get update -qq && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null || \
	  echo "could not install:$$missing"

# --- use ----------------------------------------------------------------------------------------

run: $(SETUP) ## Start everything on this machine, in this terminal
	$(BIN)/entrepot up

demo: $(SETUP) ## Watch a repository being synced, changed and served
	$(BIN)/python -m entrepot_cli.demo

# --- test ---------------------------------------------------------------------------------------

test: $(SETUP) ## Unit, contract, architecture and integration tests
	$(PYTEST) $(PARALLEL) tests/unit tests/contract tests/architecture tests/typing tests/security tests/integration

test-integration: $(SETUP) ## Integration tests, on the embedded PostgreSQL
	$(PYTEST) $(PARALLEL) tests/integration

test-oldest-postgres: $(SETUP) ## Integration tests, on PostgreSQL 15
	@if [ -x $(OLDEST_POSTGRES)/postgres ]; then \
	  ENTREPOT_POSTGRES_BIN=$(OLDEST_POSTGRES) $(PYTEST) $(PARALLEL) tests/integration; \
	else \
	  echo "NOT RUN: there is no PostgreSQL 15 in $(OLDEST_POSTGRES)"; \
	fi

test-e2e: $(SETUP) ## All processes, real clients
	$(PYTEST) $(PARALLEL) $(BY_FILE) tests/e2e tests/faults

test-faults: $(SETUP) ## Hurt an installation in every way, for an hour; FAULTS="--each 1" for less
	$(BIN)/python tests/faults/run.py sweep $(FAULTS)
	$(BIN)/python tests/faults/run.py weather $(FAULTS)
	$(BIN)/python tests/faults/run.py power $(FAULTS)
	ENTREPOT_TEST_LONG=1 $(PYTEST) $(PARALLEL) tests/faults/cells
	PYTHONPATH=tests/support:tests/bench $(BIN)/python tests/faults/killed_plugin.py

test-all: test test-e2e ## Everything that needs no system package

# Chance among thousands of tests is told from a fault; both are printed.
test-ci: PYTEST = $(BIN)/python tests/second_look.py
test-ci: apt lint breaking test test-oldest-postgres test-e2e ## What CI runs

check: test-ci ## The same

bench: $(SETUP) ## Measure, each figure beside its floor; BENCH="tasks --json FILE" for a part
	$(BIN)/python tests/bench $(BENCH)

performance: $(SETUP) ## Measure all of it, and write the figures into docs/reference/performance.md
	@mkdir -p .build
	$(BIN)/python tests/bench --json .build/figures.json
	$(BIN)/python tests/bench/report.py .build/figures.json docs/reference/performance.md

# --- lint ---------------------------------------------------------------------------------------

lint: $(SETUP) $(GOOGLEAPIS) ## Check code, types, imports, protos and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/codespell

fmt: $(SETUP) $(GOOGLEAPIS) ## Format code and protos
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format
	$(BIN)/buf format --write protos

# --- the contract -------------------------------------------------------------------------------

proto: $(SETUP) $(GOOGLEAPIS) ## Generate stubs and descriptors from the .proto files
	$(BIN)/python protos/generate.py
	PYTHONPATH=tests/plugins/graph $(BIN)/python -m entrepot_test_graph.generate

$(GOOGLEAPIS): $(SETUP) protos/generate.py
	$(BIN)/python protos/generate.py --imports
	@touch $@

breaking: $(SETUP) $(GOOGLEAPIS) ## Compare the protos with the last release
	@tag=$$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true); \
	if [ -z "$$tag" ]; then echo "no release tag yet"; exit 0; fi; \
	echo "$(BIN)/buf breaking --against $$tag"; \
	rm -rf .build/released && mkdir -p .build/released/.build && \
	git archive "$$tag" buf.yaml protos | tar -x -C .build/released && \
	cp -R .build/googleapis .build/released/.build/ && \
	$(BIN)/buf breaking --against .build/released

# --- release ------------------------------------------------------------------------------------

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
          --no-annotate --no-header $(if $(UPGRADE),--upgrade)
OURS = $(shell sed -n 's/^name = "\(.*\)"/\1/p' $(MEMBER_FILES))

lock: | $(BIN)/python $(UV) ## Resolve requirements/*.txt; UPGRADE=1 takes the newest of everything
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) $(addprefix --no-emit-package ,$(OURS)) --all-extras $(MEMBER_FILES) -o requirements/runtime.txt
	$(COMPILE) $(addprefix --no-emit-package ,$(OURS)) --all-extras $(MEMBER_FILES) requirements/dev.in \
	  -c requirements/runtime.txt -o requirements/dev.txt

bump: ## Give every distribution a version: make bump VERSION=0.2.0
	@echo "$(VERSION)" | grep -Eq '^[0-9]+\.[0-9]+\.[0-9]+$$' || { echo "usage: make bump VERSION=0.2.0"; exit 1; }
	sed -i.bak -E \
	  -e 's/^version = ".*"/version = "$(VERSION)"/' \
	  -e 's/("entrepot[a-z-]* ~= )[0-9.]+"/\1$(basename $(VERSION)).0"/' $(MEMBER_FILES)
	rm -f $(addsuffix .bak,$(MEMBER_FILES))

clean: ## Remove what can be made again
	rm -rf .venv .build .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
