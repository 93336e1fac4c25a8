# `make train`, `make test`, `make benchmark`. All first make .venv, if it is missing or older than setup.cfg.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
FLAGFILE ?= configs/fashion_mnist_mini.cfg
FLAGS ?=

# What the reference shows: the packages and what they export, and the contracts that stand in modules.
DOCUMENTED := engine layers optim data engine.testing layers.context data.sources

.PHONY: train test lint types docs benchmark clean

train: $(STAMP)
	$(VENV)/bin/python train.py --flagfile=$(FLAGFILE) $(FLAGS)

test: $(STAMP) lint types
	$(VENV)/bin/python -m pytest -n 2 -q

lint: $(STAMP)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy

# The reference of the API from its docstrings, in build/docs, to be read without a network. A warning is an error.
docs: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	rm -rf build/docs && mkdir -p build/docs
	PDOC_ALLOW_EXEC=1 $(VENV)/bin/python -m pdoc --template-directory docs/pdoc --output-directory build/docs \
		$(DOCUMENTED) 2>build/docs.log || { cat build/docs.log; exit 1; }
	@if grep ^Warn: build/docs.log; then exit 1; fi

# The peers are installed for this alone; who is not there is skipped.
benchmark: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[benchmarks]'
	$(VENV)/bin/python -m benchmarks $(FLAGS)

# The stamp is written last: an interrupted installation is done again.
$(STAMP): setup.cfg
	$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
