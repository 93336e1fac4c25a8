# `make train`, `make test`, `make benchmark`. All first make .venv, if it is missing or older than setup.cfg.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
FLAGFILE ?= configs/fashion_mnist_mini.cfg
FLAGS ?=

.PHONY: train test lint benchmark clean

train: $(STAMP)
	$(VENV)/bin/python train.py --flagfile=$(FLAGFILE) $(FLAGS)

test: $(STAMP) lint
	$(VENV)/bin/python -m pytest -n 2 -q

lint: $(STAMP)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

# The peers are installed for this alone; who is not there is skipped.
benchmark: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[benchmarks]'
	$(VENV)/bin/python -m benchmarks $(FLAGS)

# The stamp is written last: an interrupted installation is done again.
$(STAMP): setup.cfg
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
