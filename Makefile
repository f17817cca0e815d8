# Every target makes the environment that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DIR ?= demo

.DEFAULT_GOAL := help
.PHONY: help quickstart install dev lint format test chaos bench docs lock clean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: install  ## install secops and run its guided tour in DIR (default: demo)
	@mkdir -p "$(DIR)"
	@$(BIN)/secops quickstart "$(DIR)"

install: $(VENV)/.installed  ## the environment with secops and all its extras

dev: $(VENV)/.developed  ## the environment with what tests and linters need

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Making the environment in $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "secops needs Python 3.11 or newer; name one with make PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.developed: $(VENV)/.installed requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

lint: dev  ## ruff, mypy (strict), the arrows of the design
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: dev  ## let ruff put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint  ## everything but the campaigns
	$(BIN)/pytest -n 4 --dist worksteal -m "not chaos and not alone"
	$(BIN)/pytest -m "alone and not chaos"

chaos: dev  ## crash and load campaigns, long
	$(BIN)/pytest -m chaos --timeout 3600

bench: dev  ## speed and memory beside what a user would otherwise do
	$(BIN)/python tests/bench/run.py

docs: dev  ## write the generated parts of the documentation anew
	$(BIN)/python docs/generate.py

lock: dev  ## choose the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --extra all -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --extra all --group dev --constraints requirements.lock -o requirements-dev.lock pyproject.toml

clean:  ## remove the environment and what tools left
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
