# `make help` lists the targets. Each one first creates .venv and installs what it needs there.
# Another Python: make PYTHON=python3.13 test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint bench docs clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:[^#]*## */\t/' | expand -t 10

install: $(INSTALLED) ## create .venv and install qbnn with its tools there

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  version=$$($(PYTHON) --version 2>&1) || version="not found"; \
	  echo "qbnn needs Python 3.11 or newer; '$(PYTHON)': $$version." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON)' cannot create a virtual environment; install its venv package" \
	    "(python3-venv on Debian and Ubuntu)." >&2; exit 1; }
	@echo "Installing into $(VENV); this takes a few minutes the first time."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	$(BIN)/python -m anneal.kernels & compiling=$$!; \
	  $(BIN)/python -m qbnn.kernels && wait $$compiling
	@touch $@

demo: $(INSTALLED) ## solve three problems beside neal, train networks; pictures in runs/demo
	$(BIN)/qbnn demo --out runs/demo

test: $(INSTALLED) ## run the tests, the docstrings' examples and the documents' examples
	$(BIN)/python -m pytest --numprocesses 2

check: lint test docs ## what has to pass before a commit: lint, test and docs

lint: $(INSTALLED) ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(INSTALLED) ## measure the solvers; rows that exist are kept, tables in docs/results/core
	$(BIN)/qbnn bench --suite core --rates --out docs/results/core

docs: $(INSTALLED) ## build the documentation in docs/_build/html
	rm -rf docs/api docs/_build
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build/html

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist docs/_build docs/jupyter_execute .mypy_cache .pytest_cache .ruff_cache
	find anneal qbnn tests -name __pycache__ -type d -prune -exec rm -rf {} +
