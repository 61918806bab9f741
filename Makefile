# The two commands are `make book` and `make test`; `make help` lists the others.
# The first use creates .venv with the tested versions (constraints.txt) and takes a few minutes.
#
#   PROFILE=quick|full   for `make chapters`            EXECUTE=0    `make book` shows the committed outputs
#   PYTHON=python3.12    the interpreter for .venv      VENV=folder  use that environment as it is, install nothing
#   WORKERS=2            processes for `make test`

PROFILE ?= quick
EXECUTE ?= 1
WORKERS ?= 2
PYTHON ?=
EXTRAS := book,test,lab,bridge

ifeq ($(origin VENV), undefined)
VENV := .venv
READY := .venv/.ready
else
READY :=
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
endif

BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
# Spinning OpenMP threads make everything many times slower when another process wants the same core.
export OMP_WAIT_POLICY ?= PASSIVE
export JUPYTER_PREFER_ENV_PATH := 1
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help book test lint chapters lab bench sync colab clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(READY) ## run the chapters at the quick profile and build the book from that run
	python book/tools/build.py $(if $(filter 0 no false,$(EXECUTE)),--no-execute)

# Each worker computes with its share of the cores: small models gain nothing from more threads than there are cores.
test: lint ## lint, then every test, doctest and notebook
	@export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$$(python -c 'import os; print(max(1, os.cpu_count() // $(WORKERS)))')}; \
	python -m pytest --nbval -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q

lint: $(READY) ## format, lint, generated text, import contract and types
	ruff format --check .
	ruff check .
	python book/tools/sync.py --check
	lint-imports
	mypy

chapters: $(READY) ## execute the notebooks in place (PROFILE=quick or full), to commit their outputs
	python book/tools/execute.py --profile $(PROFILE) chapters/*.ipynb

lab: $(READY) ## open the chapters in JupyterLab
	jupyter trust chapters/*.ipynb && jupyter lab chapters

bench: $(READY) ## measure this machine, side by side with the general-purpose stack
	python -m benchmarks.bench

sync: $(READY) ## write the chapter table and the repository's address wherever they are shown
	python book/tools/sync.py

colab: $(READY) ## check that a chapter runs in Colab from its notebook alone (COLAB_VERSIONS=list: with its versions)
	python book/tools/colab.py $(if $(COLAB_VERSIONS),--versions $(COLAB_VERSIONS))

clean: ## remove what was built (.venv and the model cache stay)
	rm -rf .site .book build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/.ready: pyproject.toml constraints.txt
	@set -e; chosen="$(PYTHON)"; \
	for candidate in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	  test -z "$$chosen" || break; \
	  if $$candidate -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; \
	  then chosen=$$candidate; fi; \
	done; \
	test -n "$$chosen" || { echo 'Found no Python 3.10 to 3.13 with the venv module. Install one, or say which: make PYTHON=/path/to/python3'; exit 1; }; \
	echo "Setting up .venv with $$($$chosen --version); this is done once and takes a few minutes."; \
	$$chosen -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
