# Two commands do everything on a fresh machine with Python 3.11, make and cc: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many tests at once: as many as there are processors.
JOBS ?= auto

.PHONY: run demo test check test-engines bench oracle record accept pages clean
.DEFAULT_GOAL := run

run: $(VENV)/ready  ## the dashboard on this machine
	@$(BIN)/kvtop --or-demo

demo: $(VENV)/ready  ## the dashboard on an invented machine
	@$(BIN)/kvtop --demo

test: check  ## everything that needs no real engine, at most five minutes
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "not engines and not bench"

check: $(VENV)/ready  ## what the machine can say without running a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-engines: $(VENV)/ready  ## real engines, built or installed once under ~/.cache/kvtop
	$(BIN)/python -m tests.engines.install
	$(BIN)/pytest -q -m engines

bench: $(VENV)/ready  ## measures the budgets of docs/performance.md
	$(BIN)/python -m tests.bench.budgets
	$(BIN)/python -m tests.bench.bench_plans

oracle: $(VENV)/ready  ## how plans compare with the engines' own allocators (docs/accuracy.md)
	@$(BIN)/python -m tests.oracle.table
	@$(BIN)/python -m tests.oracle.vllm_table
	@$(BIN)/python -m tests.oracle.mlx_table

record: $(VENV)/ready  ## records an engine's answers anew: make record ENGINE=llama.cpp VERSION=b11434 (docs/new-engine-version.md)
	$(BIN)/python -m tools.record_oracle --engine $(ENGINE) --version $(VERSION)

accept: $(VENV)/ready  ## rewrites the golden screens after a wanted change
	KVTOP_ACCEPT=1 $(BIN)/pytest -q tests/views
	$(BIN)/python -m tests.views.tui.pictures

pages: $(VENV)/ready  ## writes what is generated from the command line: completions, man page, docs/cli.md, docs/rules.md
	@$(BIN)/python -m tools.pages

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q -e . --group dev
	@touch $@

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
