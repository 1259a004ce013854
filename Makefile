# Two commands do everything: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DATA := $(abspath $(wildcard ../shared/data))
MATINEE_DATA ?= $(DATA)
export MATINEE_DATA
# A worker a core and one more, for some tests wait; a file's tests stay together, with what they share.
WORKERS := --numprocesses $(shell expr $$(nproc 2>/dev/null || echo 2) + 1) --maxprocesses 4 --dist loadfile

.PHONY: demo test test-all lint format bench clean help

help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.installed  ## Open a simulated streaming service and serve its home page
	$(BIN)/matinee demo $(ARGS)

test: lint  ## Lint, types, import rules, doctests and tests
	$(BIN)/pytest $(WORKERS) -m "not slow" $(ARGS)

test-all: lint  ## Everything, the slow suites too, with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(WORKERS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/.installed  ## Lint, format check, strict types, import rules
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.installed  ## Put the code in its usual form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  ## Measure, each figure beside a named peer (hours)
	$(BIN)/python -m benchmarks

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Building $(VENV) with pinned versions (a minute or two) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:  ## Remove the environment and what tools left behind
	rm -rf $(VENV) .bench .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
