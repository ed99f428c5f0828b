# Every target works alone after a clone; 'setup' is done once and costs nothing afterwards.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMPS := .venv/stamps
RUN_IMPORTS := polars, deltalake, dagster._cli.api, lab_assets.definitions, lab_assets.ingest.ingestor, lab_assets.stations.runner, lab_assets.stations.all_stations, lab_assets.sources.all_readers
JARS_STAMP := .jars/.complete
PURE := contracts sources domain features modeling decisions
comma := ,
empty :=
space := $(empty) $(empty)
PURE_FILES := $(subst $(space),$(comma),$(foreach room,$(PURE),lab_assets/$(room)/*))

.PHONY: help setup demo test orders nemesis-pairs chaos lint bench dev lock clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

setup: $(STAMPS)/java $(STAMPS)/package $(STAMPS)/bytecode $(JARS_STAMP) $(STAMPS)/classes ## Make .venv with everything the lock names, and fetch Spark's JARs.

$(STAMPS)/java:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is needed as '$(PYTHON)'; name another with 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	@java -version 2>&1 | grep -qE 'version "(17|21)[."]' \
	  || { echo "Java 17 or 21 is needed on the path: install one, for example with 'apt-get install openjdk-17-jre-headless'" >&2; exit 1; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: | $(STAMPS)/java
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@mkdir -p $(STAMPS) && touch $@

# uv lives in an environment of its own, so that the product's holds what the lock names and nothing else
$(STAMPS)/uv: | $(STAMPS)/venv
	@test -x .venv/bootstrap/bin/python || $(PYTHON) -m venv .venv/bootstrap
	.venv/bootstrap/bin/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(STAMPS)/lock: requirements.lock | $(STAMPS)/uv
	.venv/bootstrap/bin/python -m uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

$(STAMPS)/package: pyproject.toml $(STAMPS)/lock
	.venv/bootstrap/bin/python -m uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# what each run imports is compiled once, also where runs may not write caches (PYTHONDONTWRITEBYTECODE, containers)
$(STAMPS)/bytecode: $(STAMPS)/lock | $(STAMPS)/package
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import $(RUN_IMPORTS)'
	@touch $@

$(JARS_STAMP): $(STAMPS)/lock | $(STAMPS)/package
	$(BIN)/python -m lab_assets.compute.jars
	@touch $@

# the classes that Spark loads, in a file that its servers map: they start in half of the processor time
$(STAMPS)/classes: $(JARS_STAMP)
	$(BIN)/python -m lab_assets.compute.class_archive
	@touch $@

demo: setup ## Simulate a laboratory, ingest, train, score and show it.
	$(BIN)/lab demo

test: setup ## Run every test, and hold the coverage of the pure rooms.
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --no-loadscope-reorder --cov=lab_assets --cov-report=
	$(BIN)/python -m coverage report --include='$(PURE_FILES)' --fail-under=90 --format=total

orders: setup ## Try fifty orders of arrival and two hundred late corrections.
	LAB_ORDERS=50 LAB_CORRECTIONS=200 $(BIN)/python -m pytest --numprocesses=$(WORKERS) --no-cov --timeout=3600 lab_assets_tests/orders

nemesis-pairs: setup ## Kill and stop every process, alone and in all pairs (some forty minutes; LAB_NEMESIS_PAIRS=n draws n cases, none takes each process alone).
	LAB_NEMESIS_PAIRS=$${LAB_NEMESIS_PAIRS:-all} $(BIN)/python -m pytest -s --no-cov lab_assets_tests/supervision/test_nemesis_pairs.py

chaos: setup ## Let random mishaps happen to a whole laboratory (MINUTES=30 for each of SEEDS="1 2 3"), and hold it against a quiet one.
	$(BIN)/python -m lab_assets_tests.chaos --minutes $(or $(MINUTES),30) $(foreach seed,$(or $(SEEDS),1 2 3),--seed $(seed))

lint: setup ## Check style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: setup ## Measure, and print tables.
	$(BIN)/python bench/run.py
	$(BIN)/python bench/ingestion.py
	$(BIN)/python bench/to_gold.py
	$(BIN)/python bench/growth.py
	$(BIN)/python bench/drop_to_score.py
	$(BIN)/python bench/fairness.py

dev: setup ## Run Dagster alone on this checkout, with the history of LAB_HOME.
	DAGSTER_HOME="$$($(BIN)/python -m lab_assets.ops.dagster_home)" $(BIN)/dagster dev

lock: $(STAMPS)/uv ## Resolve the dependencies anew into requirements.lock.
	.venv/bootstrap/bin/python -m uv pip compile --quiet --universal --generate-hashes --no-header --group dev pyproject.toml -o requirements.lock

clean: ## Remove caches; data, environment and JARs stay.
	rm -rf .pytest_cache .ruff_cache .hypothesis .coverage* htmlcov dist
	find lab_assets lab_assets_tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
