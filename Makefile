# petits-chills: make demo, make test, make check, make bench. `make help` lists them all.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
RUN := $(VENV)/bin/
PY := $(VENV)/bin/python

.PHONY: check-style check-types check-imports check-units docs help setup setup-check setup-lab demo demo-down demo-reports test check format bench lab-up lab-down lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:  ## install what is missing: a virtual environment from requirements.lock
	@scripts/setup python "$(VENV)"

setup-lab: setup  ## the Debian packages of the lab and of the tests, too
	@scripts/setup packages all

setup-check: setup  ## the few that the unit tests need
	@scripts/setup packages unit

demo: setup-lab  ## the main job, on a lab server: an instance, its letter, a year of usage, the papers
	@$(PY) -m tests.demo up

demo-down:  ## remove every trace of the demo
	@$(or $(wildcard $(PY)),/usr/bin/python3) -m tests.demo down

demo-reports: setup  ## metering and reporting alone: a generated fleet and ledger, the papers; needs no root
	@$(PY) -m tests.demo_reports --out demo-reports

# The lab first: its files take longest, and what is short fills the time at the end.
test: setup-lab check  ## everything CI runs
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/lab tests/integration

check: setup-check  ## format, lint, types, import contracts, unit tests: under a minute
	@$(MAKE) --no-print-directory -j 3 --output-sync=target check-style check-types check-imports check-units

check-style:
	$(RUN)ruff format --check .
	$(RUN)ruff check .

check-types:
	$(RUN)mypy

check-imports:
	$(RUN)lint-imports --no-cache | tail -n 12

check-units:
	$(PY) -m pytest -q -n 2 tests/unit

format: setup  ## put the code into its form
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

bench: setup-lab  ## speed beside a peer, in one run, as ratios
	@for file in benchmarks/bench_*.py; do $(PY) "$$file"; done

lab-up: setup-lab  ## boot lab machines: make lab-up NAMES="srv1 srv2"
	@$(PY) -m tests.lab up $(NAMES)

lab-down:  ## remove lab machines: all of them, or NAMES
	@$(or $(wildcard $(PY)),/usr/bin/python3) -m tests.lab down $(NAMES)

lock: setup  ## pin the newest versions that pyproject.toml allows into requirements.lock
	@scripts/lock "$(VENV)"

docs: setup  ## write docs/commands.md from the help of the commands
	@$(PY) scripts/command-reference

clean:  ## remove what make made in this directory
	rm -rf "$(VENV)" demo demo-reports .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
