# Every target that needs Python makes .venv first, when it is missing or pyproject.toml or constraints.txt changed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help venv tour test lint lab docs clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

venv: $(READY)  ## make .venv with the tested versions

tour: $(READY)  ## check, build, run and execute every notebook; writes build/tour/index.html
	$(BIN)/sparse-mla tour

test: lint  ## lint, types and the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(READY)  ## ruff, mypy and clang-format
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*/*.h csrc/*/*.cu* csrc/*/*.hip csrc/*/*.cpp

lab: $(READY)  ## open JupyterLab at the notebooks (loopback only, with a token)
	$(BIN)/jupyter lab --notebook-dir=notebooks

docs: $(READY)  ## execute the notebooks and build the site: build/site/html/index.html
	$(BIN)/python docs/site.py build/site

clean:  ## remove what the targets made, .venv included
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
