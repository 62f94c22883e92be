# Every command of the project. `make` alone lists them.
#
#   PYTHON   the Python that .venv is made from, or, with SETUP=0, the environment to use as it is
#   CHAPTER  the chapter that `make refresh` runs
PYTHON  ?= python3
SETUP   ?= 1
CHAPTER ?=

ifeq ($(SETUP),0)
  RUN   := $(PYTHON)
  ready :=
else
  RUN   := .venv/bin/python
  ready := .venv/.ready
endif
scripts = $(shell $(RUN) -c 'import sysconfig; print(sysconfig.get_path("scripts"))')

export PYTHONPATH := $(CURDIR)
# Tests run in two processes with one thread each, in the small profile, which keeps no results.
quick = env -u MEDXAI_RESULTS OMP_NUM_THREADS=1 MEDXAI_PROFILE=quick

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup reproduce test book refresh bench sync generated layers lint types cells unit test-book export generate

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(ready) ## set up .venv, once (SETUP=0 PYTHON=python3 uses an environment that is there)

.venv/.ready: requirements.txt
	@book/scripts/setup.sh $(PYTHON)

reproduce: $(ready) ## train and evaluate all chapters here and now, and render the book from these runs
	$(RUN) book/scripts/reproduce.py

test: sync generated layers lint types cells unit ## run all tests except those of the rendered book

book: $(ready) ## render the book with the outputs that the notebooks hold; nothing is run
	$(RUN) book/scripts/build.py

refresh: $(ready) ## re-run a chapter at full size and store its outputs: make refresh CHAPTER=1
	@test -n "$(CHAPTER)" || { echo "make refresh: name a chapter, for example: make refresh CHAPTER=1" >&2; exit 1; }
	$(RUN) book/scripts/refresh.py $(CHAPTER)

bench: $(ready) ## measure speed side by side, into book/results/benchmarks.json
	$(RUN) book/scripts/bench.py

sync: $(ready) ## test: medxai/ is what the notebooks export, and the notebooks are clean
	$(RUN) book/scripts/check_sync.py

generated: $(ready) ## test: README, citation and Colab cells are in step with settings.ini
	$(RUN) book/scripts/generate.py --check

layers: $(ready) ## test: no package imports one that it should not know
	"$(scripts)/lint-imports" --no-logo

lint: $(ready) ## test: ruff
	$(RUN) -m ruff check --output-format concise

types: $(ready) ## test: mypy
	$(RUN) -m mypy

cells: $(ready) ## test: the cells of all notebooks
	$(quick) "$(scripts)/nbdev_test" --n_workers 2 --do_print

unit: $(ready) ## test: pytest, and the examples in the docstrings
	@echo "Tests of the rendered book are left to make test-book."
	$(quick) $(RUN) -m pytest -n 2 --dist loadgroup -m "not browser" $(PYTEST)

test-book: book ## test: render the book and open every page in headless Chromium
	$(RUN) -m pytest -m browser tests $(PYTEST)

export: $(ready) ## write medxai/ from the notebooks, and clean these
	"$(scripts)/nbdev_export"
	"$(scripts)/nbdev_clean"

generate: $(ready) ## write README, citation and Colab cells from settings.ini
	$(RUN) book/scripts/generate.py
