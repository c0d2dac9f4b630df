# Everything a contributor does, by name. `make help` lists it; only Python 3.11 or newer is needed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := setup
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest

# The environment is current when this file carries the hash of all that decides its content.
LOCKS := requirements/base.txt requirements/dev.txt
STAMP := $(VENV)/.stamp
SETUP_INPUTS := $(LOCKS) pyproject.toml taskmaster_desktop/__init__.py

.PHONY: help setup demo map-example test check bench proto verify-proto migration lock run screenshots \
        bench-ui package smoke clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  later work:   $(WINDOW_WORK) $(PACKAGING_WORK)"

setup:  ## create or refresh .venv (default target)
	@wanted="$$({ cat $(SETUP_INPUTS); pwd; } | sha256sum | cut -d ' ' -f 1)"; \
	if [ -x $(BIN)/python ] && [ "$$(cat $(STAMP) 2>/dev/null || true)" = "$$wanted" ]; then exit 0; fi; \
	command -v $(PYTHON) >/dev/null || \
	  { echo "There is no $(PYTHON); install Python 3.11 or newer, or run: make PYTHON=/path/to/python3.11" >&2; exit 2; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); run: make PYTHON=/path/to/python3.11" >&2; exit 2; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }; \
	echo "Setting up $(VENV) ..."; \
	grep -qsF "$(CURDIR)/$(VENV)" $(BIN)/activate && [ -x $(BIN)/python ] || $(PYTHON) -m venv --clear $(VENV); \
	$(PIP) install --require-hashes -r requirements/dev.txt; \
	$(PIP) install --no-deps --no-build-isolation --editable .; \
	echo "$$wanted" > $(STAMP)

demo: setup  ## the seven-step demo, headless; on containers where a Docker Engine answers, else on processes
	@$(BIN)/taskmaster demo

map-example: setup  ## a real run of `taskmaster map`: checksums of this project's own documents
	@$(BIN)/taskmaster map 'sha256sum {}' proto/taskmaster/v1/*.proto requirements/*.txt *.toml *.md LICENSE

test: setup  ## everything this machine can run; what is skipped is named at the end
	@$(PYTEST) -rs

check: setup  ## style, types, import rules, house rules, currency of generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(PYTEST) -q tests/unit/test_house_rules.py $(wildcard tests/contract/test_migrations.py)
	@$(BIN)/python scripts/gen_proto.py --check && echo "Generated protocol code is current."

bench: setup  ## measure; prints the figures and writes build/bench.json
	@$(BIN)/python -m benchmarks

proto: setup  ## regenerate both _pb folders from proto/taskmaster/v1/worker.proto
	@$(BIN)/python scripts/gen_proto.py

verify-proto: setup  ## fail when a _pb folder differs from what `make proto` writes
	@$(BIN)/python scripts/gen_proto.py --check

VERSIONS := taskmaster_desktop/backend/store/migrations/versions
migration: setup  ## new Alembic revision from tables.py: make migration m="add a column"
	@[ -n '$(m)' ] || { echo 'Say what it does: make migration m="add a column"' >&2; exit 2; }
	@$(BIN)/python scripts/new_migration.py '$(m)'
	@$(BIN)/ruff check --quiet --fix $(VERSIONS); $(BIN)/ruff format --quiet $(VERSIONS)
	@$(PYTEST) -q tests/contract/test_migrations.py

# One locker, pinned by requirements/lock.txt, in a folder of its own so that .venv stays what dev.txt says.
LOCK_VENV := build/lock-venv
COMPILE := $(LOCK_VENV)/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 \
           --generate-hashes --no-emit-index-url --no-annotate --no-header
lock:  ## rewrite the hash-locked requirements (u=1: take newer versions)
	@[ -x $(LOCK_VENV)/bin/uv ] || { $(PYTHON) -m venv $(LOCK_VENV); \
	  $(LOCK_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/lock.txt; }
	@up="$(if $(u),--upgrade)"; \
	$(COMPILE) $$up pyproject.toml -o requirements/base.txt; \
	$(COMPILE) $$up -c requirements/base.txt pyproject.toml --group dev -o requirements/dev.txt; \
	$(COMPILE) $$up -c requirements/base.txt pyproject.toml --extra gui -o requirements/gui.txt; \
	$(COMPILE) $$up -c requirements/base.txt --group worker -o worker_image/requirements.txt; \
	$(COMPILE) $$up --group lock -o requirements/lock.txt

WINDOW_WORK := run screenshots bench-ui
PACKAGING_WORK := package smoke
$(WINDOW_WORK): later := the window
$(PACKAGING_WORK): later := packaging
$(WINDOW_WORK) $(PACKAGING_WORK):
	@echo "make $@ comes with the later work on $(later); nothing was done." >&2; exit 2

clean:  ## remove everything that was made here
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
