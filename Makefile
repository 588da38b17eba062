# make lab: JupyterLab on the quickstart. make test: what proves that it works.

BIN := .venv/bin
NOTEBOOK ?= notebooks/01_quickstart.ipynb
JUPYTER_ARGS ?=
WORKERS ?= 2
ARGS ?=
# One thread: small models stall when OpenMP's threads fight for a busy core.
QUIET := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
# Tests run side by side; those that share a JupyterLab or a notebook stay together.
SPREAD := -n $(WORKERS) --dist loadgroup
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
SOURCES := pyproject.toml constraints.txt tools/install

.PHONY: lab test quick most cov soak check build binder notebooks bench footprint docs site picture alarms clean

lab: .venv/installed-lab
	$(BIN)/jupyter lab $(ROOT) --ServerApp.root_dir="$(CURDIR)" $(JUPYTER_ARGS) $(NOTEBOOK)

test: .venv/installed-test
	tools/install-chromium
	$(QUIET) $(BIN)/python -m pytest $(SPREAD) --drawn $(ARGS)

cov: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest $(SPREAD) --drawn -m "not browser" --cov \
		--cov-report=term --cov-report=xml $(ARGS)

# All of what `make test` draws from, and what it leaves out: hours.
soak: .venv/installed-test
	HYPOTHESIS_PROFILE=soak $(QUIET) $(BIN)/python -m pytest $(SPREAD) \
		-m "soak or long or hypothesis" $(ARGS)

# Two minutes: one case of every third test function.
quick: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest $(SPREAD) --drawn -m "not slow and not browser" $(ARGS)

# What other systems and versions are tried with.
most: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest $(SPREAD) -m "not browser and not slow" $(ARGS)

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest $(SPREAD) tests/notebooks $(ARGS)

bench: .venv/installed-test
	$(QUIET) $(BIN)/python -m benchmarks $(ARGS)

build: .venv/installed-test
	tools/check-build

# An environment as Binder makes it, in which the quickstart runs.
binder: .venv/installed-test
	$(QUIET) $(BIN)/python -m pytest tests/setup/binder_image.py $(ARGS)

# Minutes, sizes and memory of a fresh install; needs the network, or a mirror of it.
footprint: .venv/installed-test
	$(QUIET) $(BIN)/python -m tools.footprint $(ARGS)

docs: .venv/installed-test
	$(BIN)/python -m tools.docs_tables

# The documentation site, offline; ARGS=--execute runs the notebooks first.
site: .venv/installed-test
	$(QUIET) $(BIN)/python -m tools.site $(ARGS)

picture: .venv/installed-test
	$(BIN)/python -m tools.dashboard_picture

alarms: .venv/installed-test
	$(QUIET) $(BIN)/python -m tools.alarms

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf tests/artefacts .coverage coverage.xml *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed-%: $(SOURCES)
	tools/install $*
