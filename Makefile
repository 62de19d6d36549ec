# make demo · make test · make check · make setup · make up. Needs Python 3.11 or newer and make; nothing else.
# The first that runs and is new enough; a shim that only exists does not count.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE := tests/clients/node

export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: setup demo test check up docs lock bench simulate prove mutate clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "icflows needs Python 3.11 or newer, and found none. Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv does not work here; on Debian: apt install python3-venv"; exit 1; }
	@echo "installing the locked packages into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $(STAMP)

demo: setup
	@$(BIN)/icflows demo

up: setup
	@$(BIN)/icflows up

test: setup $(VENV)-duckdb14/.installed $(NODE)/node_modules/.installed
	$(BIN)/python -m pytest

# Node's soap package, which calls our services as another company would; nothing but a test uses it.
$(NODE)/node_modules/.installed: $(NODE)/package-lock.json
	@command -v npm >/dev/null || { echo "the tests need npm; on Debian: apt install nodejs npm"; exit 1; }
	@npm ci --prefix $(NODE) --silent --no-audit --no-fund --no-update-notifier --ignore-scripts
	@touch $@

# The oldest stock DuckDB client that must read our snapshots; nothing but a test uses it.
$(VENV)-duckdb14/.installed: requirements-duckdb14.lock
	@test -x $(VENV)-duckdb14/bin/python || $(PYTHON) -m venv $(VENV)-duckdb14
	@$(VENV)-duckdb14/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-duckdb14.lock
	@touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: setup
	$(BIN)/python -m benchmarks

# 15,000 uploads of ambiguous fate, one record each, in 30 worlds; half an hour on two cores.
simulate: setup
	ICFLOWS_AMBIGUOUS_UPLOADS=15000 $(BIN)/python -m pytest --dist load -v -rP tests/outbox/test_outbox_simulated_mips.py

# 20 carriers of 90 days and 2,000 accounts: every planted break found, none besides; the laws with 50 worlds each.
prove: setup
	ICFLOWS_PROVE_SEEDS=20 ICFLOWS_PROVE_DAYS=90 ICFLOWS_PROVE_ACCOUNTS=2000 ICFLOWS_PROVE_LAWS=50 $(BIN)/python -m pytest -n 0 --timeout 1800 tests/reconciling/test_all_classes.py tests/reconciling/test_reconcile_laws.py

# Small faults put into the money rules by mutmut, and how many of them the tests notice.
mutate: setup
	$(BIN)/python -m benchmarks.mutation --least 90

docs: setup
	$(BIN)/python -m tasks.dictionary > docs/data-dictionary.md

lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --all-extras pyproject.toml -o requirements.lock
	echo 'duckdb==1.4.0' | $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet - -o requirements-duckdb14.lock

clean:
	rm -rf var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
