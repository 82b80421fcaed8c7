# Two commands, each doing its own set-up from a bare clone:
#   make demo    a virtual environment, limner, and pictures from models trained before your eyes
#   make test    the same environment with the development tools, and every check that CI runs
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Tests and demo use both cores once: pytest-xdist workers each take one thread.
WORKERS ?= 2
# What is tested once more as if numba were not installed: limner must work without it.
PLAIN := tests/test_models.py tests/sampling tests/nn/test_recurrent.py

.PHONY: demo test lint types tests coverage clean

demo: $(VENV)/limner.installed
	$(BIN)/limner demo

test: lint types tests

lint: $(VENV)/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.installed
	$(BIN)/mypy

tests: $(VENV)/dev.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --durations=8
	LIMNER_HIDE_NUMBA=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) $(PLAIN)

# Lines of limner/ that the tests run, without limner/fast, whose compiled loops no tracer sees; fails under 90 %.
coverage: $(VENV)/dev.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --cov=limner --cov-report=term-missing:skip-covered

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "limner needs Python 3.10 or newer: make PYTHON=/path/to/python3 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/limner.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/dev.installed: pyproject.toml constraints.txt | $(VENV)/limner.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .coverage .pytest_cache .mypy_cache .ruff_cache
