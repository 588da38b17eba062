# make lab: JupyterLab on the quickstart. make test: everything that proves it works.

BIN := .venv/bin
NOTEBOOK ?= notebooks/01_quickstart.ipynb
JUPYTER_ARGS ?=
ARGS ?=
# One thread: small models stall when OpenMP's threads fight for a busy core.
QUIET := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
SOURCES := pyproject.toml constraints.txt tools/install

.PHONY: lab test check notebooks bench docs alarms rules clean

lab: .venv/installed-lab
	$(BIN)/jupyter lab $(ROOT) --ServerApp.root_dir="$(CURDIR)" $(JUPYTER_ARGS) $(NOTEBOOK)

test: .venv/installed-test
	tools/install-chromium
	$(QUIET) $(BIN)/python -m pytest $(ARGS)

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest tests/notebooks $(ARGS)

bench: .venv/installed-test
	$(QUIET) $(BIN)/python -m benchmarks $(ARGS)

docs: .venv/installed-test
	$(BIN)/python -m tools.docs_tables

rules: .venv/installed-test
	$(QUIET) $(BIN)/python -m tools.rule_alarms

alarms: .venv/installed-test
	$(QUIET) $(BIN)/python -m tools.false_alarms

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf tests/artefacts *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed-%: $(SOURCES)
	tools/install $*
