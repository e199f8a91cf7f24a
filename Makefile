# Every command here sets up what it needs: only Python 3.11 or newer and make have to be there.
# Run `make` for the list.

VENV := .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip --quiet --quiet --disable-pip-version-check
DUCKDB_LTS := 1.4.5
PORT ?= 3000
PYTEST_ARGS ?=
JOBS ?= auto
KILLS ?= 200
SEEDS ?= 200
MODEL_ARGS ?=
SEED ?= 1
WORLDS ?= 10000
GB ?= 5
MEMORY ?= 512MB
BENCH_ARGS ?=

# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

export DAGSTER_DISABLE_TELEMETRY := yes
export PYTHONUNBUFFERED := 1
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV DAGSTER_HOME

.DEFAULT_GOAL := help
.PHONY: help demo ui ui-test dg-test test fuzz test-duckdb-lts kill model answers big-spool bench differential lint format types check lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(VENV)/.runtime ## Load the sample API into demo.duckdb through Dagster, change it, load again, check every row
	@$(RUN) dagster_restapi.demo.run

ui: $(VENV)/.development ## Start the sample API and Dagster's UI (PORT=3000); Ctrl-C stops both
	@exec $(RUN) dagster_restapi.demo.ui --port $(PORT)

test: $(VENV)/.development ## Run the tests, on all cores (JOBS=1 PYTEST_ARGS="-k cursor" for some of them)
	@$(RUN) pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

fuzz: $(VENV)/.development ## Run the property-based tests with inputs that no run had before (PYTEST_ARGS="-k tables")
	@$(RUN) pytest --hypothesis-profile=fuzz -m "hypothesis and not browser and not differential" $(PYTEST_ARGS)

ui-test: $(VENV)/.browser ## Drive the UI with Chromium (Debian: apt-get install chromium); pictures go to .demo/pictures
	@UI_PICTURES=$(CURDIR)/.demo/pictures $(RUN) pytest -m browser tests/browser $(PYTEST_ARGS)

dg-test: $(VENV)/.dg ## Try the component with the real dg command: list, scaffold, check, run
	@$(RUN) pytest -m dg tests/assets $(PYTEST_ARGS)

test-duckdb-lts: $(VENV)/duckdb-$(DUCKDB_LTS)/.installed ## Run the tests of the tables on DuckDB's LTS release
	@export PYTHONPATH=$(dir $<) && \
	$(VENV)/bin/python -c 'import duckdb; assert duckdb.__version__ == "$(DUCKDB_LTS)", duckdb.__version__' && \
	$(RUN) pytest -n $(JOBS) --dist loadfile tests/tables $(PYTEST_ARGS)

kill: $(VENV)/.development ## Kill real runs at random and at every named instant, and compare all rows (KILLS=200 SEED=1)
	@PYTHONPATH=tests $(RUN) kill --kills $(KILLS) --seed $(SEED)

model: $(VENV)/.development ## Play random sequences of runs against a model of the tables (SEEDS=200 SEED=1 MODEL_ARGS="--jobs 2 --keep-going")
	@PYTHONPATH=tests $(RUN) model --sequences $(SEEDS) --seed $(SEED) $(MODEL_ARGS)

answers: $(VENV)/.development ## Walk pages with generated answers against a model of when a walk may end (WORLDS=10000 SEED=1)
	@PYTHONPATH=tests $(RUN) answers --worlds $(WORLDS) --seed $(SEED)

big-spool: $(VENV)/.runtime ## Load a spool much larger than DuckDB's memory limit (GB=5 MEMORY=512MB)
	@$(RUN) benchmarks.big_spool --gb $(GB) --memory $(MEMORY)

bench: $(VENV)/.runtime ## Measure speed and memory, against dlt and a script written by hand; write docs/performance.md
	@$(RUN) benchmarks $(BENCH_ARGS)

differential: $(VENV)/.development ## Run the same configurations with dlt and compare requests, tables, types, values
	@$(RUN) pytest -m differential tests/differential $(PYTEST_ARGS)

lint: $(VENV)/.development ## Check style and format
	@$(RUN) ruff check . && $(RUN) ruff format --check .

format: $(VENV)/.development ## Mend style and format
	@$(RUN) ruff check --fix . && $(RUN) ruff format .

types: $(VENV)/.development ## Check types
	@$(RUN) mypy --strict dagster_restapi definitions.py examples

check: ## Everything that must hold, as it runs for every change
	@.ci/run

lock: $(VENV)/.development ## Choose the newest versions of all dependencies and pin them in constraints.txt
	@$(PIP) install uv
	@$(RUN) uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev --group build --group browser --group dg \
		--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" \
		--output-file constraints.txt pyproject.toml

clean: ## Remove the environment and everything that the commands above have made
	rm -rf $(VENV) .bench .demo demo.duckdb demo.duckdb.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find dagster_restapi tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a second call does nothing until pyproject.toml or constraints.txt changes.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "python -m venv failed; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing dagster_restapi and what it needs (once) ..."
	@$(PIP) install -c constraints.txt pip hatchling editables
	@$(PIP) install -c constraints.txt --no-build-isolation -e .
	@touch $@

$(VENV)/.development: $(VENV)/.runtime
	@echo "Installing what tests, checks and the UI need (once) ..."
	@$(PIP) install -c constraints.txt --group dev
	@touch $@

$(VENV)/.browser: $(VENV)/.development
	@echo "Installing what drives the browser (once) ..."
	@$(PIP) install -c constraints.txt --group browser
	@touch $@

$(VENV)/.dg: $(VENV)/.development
	@echo "Installing the command dg (once) ..."
	@$(PIP) install -c constraints.txt --group dg
	@touch $@

$(VENV)/duckdb-$(DUCKDB_LTS)/.installed: $(VENV)/.development
	@echo "Installing DuckDB $(DUCKDB_LTS) beside the newest (once) ..."
	@$(PIP) install --no-deps --upgrade --target $(@D) duckdb==$(DUCKDB_LTS)
	@touch $@
