# Two commands do everything on a fresh machine: `make run` needs Python 3.11 or newer with its venv module, `make test` a
# C compiler besides.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many tests at once; `auto` is what tests/conftest.py counts.
JOBS ?= auto
# Tests start kvtop hundreds of times; without compiled files each start would compile all of it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run demo test check test-engines bench fuzz forecast oracle decode record accept pages clean test-pythons
.DEFAULT_GOAL := run

run: $(VENV)/run-ready  ## the dashboard on this machine
	@$(BIN)/kvtop --or-demo

demo: $(VENV)/run-ready  ## the dashboard on an invented machine
	@$(BIN)/kvtop --demo

test: check  ## everything that needs no real engine, at most five minutes
	$(BIN)/pytest -q -rs -n $(JOBS) --dist worksteal -m "not engines and not bench"

check: $(VENV)/ready  ## what the machine can say without running a test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-engines: $(VENV)/ready  ## real engines, built or installed once under ~/.cache/kvtop
	$(BIN)/python -m tests.engines.install
	$(BIN)/pytest -q -m engines

test-pythons: $(VENV)/ready  ## the built wheel in a terminal, on every Python of the classifiers that is here
	$(BIN)/python -m tests.pythons.starts

bench: $(VENV)/ready  ## measures the budgets of docs/performance.md
	$(BIN)/python -m tests.bench.budgets
	$(BIN)/python -m tests.bench.bench_plans
	$(BIN)/python -m tests.bench.bench_growth
	$(BIN)/pytest -q -m bench

fuzz: $(VENV)/ready  ## odd inputs to every reader, guided by coverage: make fuzz MINUTES=5
	@$(BIN)/python -m pip install -q --disable-pip-version-check --group fuzz
	@$(BIN)/python -m tests.fuzz.run --minutes $(or $(MINUTES),5)

forecast: $(VENV)/ready  ## how often a forecast of a full cache came true, on recorded loads of real engines
	@$(BIN)/python -m tests.forecast.score

bench-fleet: $(VENV)/ready  ## what a look at a fleet of 100 to 3,000 servers costs, beside its budget
	$(BIN)/python -m tests.bench.bench_fleet

oracle: $(VENV)/ready  ## how plans compare with the engines' own allocators (docs/accuracy.md)
	@$(BIN)/python -m tests.oracle.table
	@$(BIN)/python -m tests.oracle.builds_table
	@$(BIN)/python -m tests.oracle.vllm_table
	@$(BIN)/python -m tests.oracle.mlx_table

decode: $(VENV)/ready  ## estimates of decode speed beside public measurements (docs/decode_speed.md)
	@$(BIN)/python -m tests.decode.table

record: $(VENV)/ready  ## records an engine's answers anew: make record ENGINE=llama.cpp VERSION=b11434 (docs/new-engine-version.md)
	@test -n "$(ENGINE)" -a -n "$(VERSION)" || { echo "make record ENGINE=llama.cpp|llama-server|vllm|mlx VERSION=…"; exit 2; }
	$(BIN)/python -m tools.record_oracle --engine $(ENGINE) --version $(VERSION)

accept: $(VENV)/ready  ## rewrites the golden screens after a wanted change
	KVTOP_ACCEPT=1 $(BIN)/pytest -q tests/views
	$(BIN)/python -m tests.views.tui.pictures

pages: $(VENV)/ready  ## writes what is generated from the command line: completions, man page, docs/cli.md, docs/rules.md
	@$(BIN)/python -m tools.pages

# What running needs, and nothing else.
$(VENV)/run-ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "kvtop needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`. Say which: make PYTHON=python3.13"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) has no venv module. Install it (Debian and Ubuntu: apt install python3-venv), then make again"; exit 1; }
	@echo "Installing what kvtop needs into $(VENV)/, once: about 25 packages, 80 MB"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

# What testing needs besides: pip from 25.1 on knows dependency groups.
$(VENV)/ready: pyproject.toml $(VENV)/run-ready
	@echo "Installing what the tests and checks need into $(VENV)/, once: about 60 packages, 300 MB"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --disable-pip-version-check -e . --group dev
	@touch $@

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
