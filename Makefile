# `make demo` and `make test` are all one needs to know. A new machine needs Python 3.11, pip and make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench soak browser

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv

# An active environment is used as it is if this very checkout is installed in it; otherwise one is made in $(VENV).
ACTIVE := $(shell [ -n "$${VIRTUAL_ENV:-}" ] && "$$VIRTUAL_ENV/bin/python" -c 'import pathlib, sys, pytest, xdist, mypy; \
  import capriccio; sys.exit(not pathlib.Path(capriccio.__file__).is_relative_to("$(CURDIR)"))' 2>/dev/null \
  && echo "$$VIRTUAL_ENV")
ifeq ($(ACTIVE),)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
else
BIN := $(ACTIVE)/bin
INSTALLED :=
endif

# Tests that need photographs run where CAPRICCIO_DATA names a folder of them.
SKIPPED := not soak$(if $(CAPRICCIO_DATA),, and not data)
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

help:
	@echo "make demo   a short tour on embedded data; ends with an HTML report"
	@echo "make test   lint, types, layers and the whole test suite: what continuous integration runs"
	@echo "make lint   ruff, mypy and the layers contract alone"
	@echo "make bench  speed of this machine"
	@echo "make soak   fuzz and kill tests at full counts; takes hours"

demo: $(INSTALLED)
	$(BIN)/capriccio demo --out demo-report

test: lint browser
	$(PYTEST) -m "not slow and $(SKIPPED)"
	$(PYTEST) -m "slow and $(SKIPPED)"

# The studio is tested in a real browser; where none can be had its tests are skipped, and this says so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && { apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } >/dev/null 2>&1; } \
	  || echo "*** NO CHROMIUM: the tests of the studio in a browser will be skipped ('apt-get install chromium')" >&2

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/capriccio bench

soak: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak --timeout 0

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
