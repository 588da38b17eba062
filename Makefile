# make lab: JupyterLab on the quickstart. make test: everything that proves it works.

BIN := .venv/bin
NOTEBOOK ?= notebooks/01_quickstart.ipynb
JUPYTER_ARGS ?=
ARGS ?=
# One thread: small models stall when OpenMP's threads fight for a busy core.
QUIET := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
SOURCES := pyproject.toml constraints.txt tools/install

.PHONY: lab test quick check build notebooks bench readme alarms rules clean

lab: .venv/installed-lab
	$(BIN)/jupyter lab $(ROOT) --ServerApp.root_dir="$(CURDIR)" $(JUPYTER_ARGS) $(NOTEBOOK)

test: .venv/installed-test
	tools/install-chromium
	$(QUIET) $(BIN)/python -m pytest $(ARGS)

# Without a browser, and without tests of more than half a minute.
quick: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest -m "not browser and not slow" $(ARGS)

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest tests/notebooks $(ARGS)

bench: .venv/installed-test
	$(QUIET) $(BIN)/python -m benchmarks $(ARGS)

build: .venv/installed-test
	tools/check-build

readme: .venv/installed-test
	$(BIN)/python tools/readme_tables.py

rules: .venv/installed-test
	$(QUIET) $(BIN)/python tools/rule_alarms.py

alarms: .venv/installed-test
	$(QUIET) $(BIN)/python tools/false_alarms.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf tests/artefacts *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed-%: $(SOURCES)
	tools/install $*
