# rdspend: two commands for a new user, `make demo` and `make test`; the rest is for those who work on it.

PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
BIN := $(VENV)/bin
OUT ?= demo-output
SOURCES := pyproject.toml $(shell find rdspend collectors taggers exporters -type f -not -name '*.pyc' 2>/dev/null)
# The oldest supported versions of what the engine stands on; the newest come with every other environment.
OLDEST_PINS := "duckdb==1.5.0"

.PHONY: help demo dashboards test quick lint bench clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

demo: $(VENV)/.installed ## three organisations' reports, in demo-output/
	@BIN=$(abspath $(BIN)) deploy/demo/run $(OUT)

dashboards: $(VENV)/.tested ## the JSON of deploy/grafana, from the code beside it; DOCS=https://... is where its links lead
	@$(BIN)/python deploy/grafana/generate.py $(if $(DOCS),--docs $(DOCS))

test: $(VENV)/.tested $(OLDEST)/.tested ## every test, real servers included; installs what it needs
	@tests/servers/install
	@$(BIN)/pytest -q -n 2 --dist loadgroup -m "not server"
	@$(BIN)/pytest -q -m server
	@$(OLDEST)/bin/pytest -q tests/oracle tests/properties tests/test_ledger.py tests/test_learned.py tests/test_review.py \
		tests/test_lineage.py tests/test_cut_jobs.py tests/test_policy.py -m "not scale and not server"

quick: $(VENV)/.tested ## what needs no server and little time
	@$(BIN)/pytest -q -n 2 -m "not server and not scale"

lint: $(VENV)/.tested ## style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.tested ## the figures of docs/benchmarks.md; wants 20 GB of disk and half an hour
	@$(BIN)/python tests/benchmarks/all.py

clean: ## what the commands above made
	rm -rf $(VENV) $(OLDEST) $(OUT) bench-output dist build

# What is tested is the installed wheel, not the tree.
$(VENV)/.installed: $(SOURCES) constraints.txt
	@echo "installing rdspend into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet -c constraints.txt ".[html,xlsx]"
	@$(BIN)/python -m pip install --quiet --force-reinstall --no-deps .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet -c constraints.txt --group dev
	@touch $@

$(OLDEST)/.tested: $(VENV)/.installed
	@echo "installing the oldest supported engine into $(OLDEST)"
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@grep -v '^duckdb==' constraints.txt > $(OLDEST)/constraints.txt
	@$(OLDEST)/bin/python -m pip install --quiet -c $(OLDEST)/constraints.txt $(OLDEST_PINS) . --group dev
	@$(OLDEST)/bin/python -m pip install --quiet --force-reinstall --no-deps .
	@touch $@
