# `make` lists the targets. Each does its own set-up; nothing needs to be installed by hand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PHOTOS ?=
SOAK_SECONDS ?= 600
FUZZ_FILES ?= 5000
DOCKER ?= docker
IMAGE ?= photo-worker
PYTHON_IMAGE ?= python:3.12-slim-bookworm
# Half of the suite waits for leases and time-outs; a file's tests share their servers.
TWO := --numprocesses=2 --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help run test test-fast soak fuzz lint lint-deploy format constraints image test-containers clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: $(VENV)/ready ## Run everything on this machine; PHOTOS=folder for your own photos
	@$(BIN)/photo-worker local $(if $(PHOTOS),"$(PHOTOS)")

test: $(VENV)/ready ## Run the whole test suite
	@$(BIN)/python -m pytest $(TWO)

test-fast: $(VENV)/ready ## Run the tests that need no server
	@$(BIN)/python -m pytest $(TWO) tests/unit tests/fuzz

soak: $(VENV)/ready ## Kill workers for SOAK_SECONDS=600, then 5,000 events for memory
	@SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest --capture=no \
	  tests/e2e/test_kills.py tests/e2e/test_flat_memory.py

fuzz: $(VENV)/ready ## Damage FUZZ_FILES=5000 pictures and render them
	@FUZZ_FILES=$(FUZZ_FILES) $(BIN)/python -m pytest tests/fuzz/test_mutated_pictures.py \
	  --capture=no

lint: $(VENV)/ready ## Check style, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

lint-deploy: $(VENV)-deploy/ready ## Check Terraform, cloud-init, the image and the workflow
	@$(VENV)-deploy/bin/python scripts/lint_deploy.py

format: $(VENV)/ready ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

constraints: $(VENV)/ready ## Pin every dependency anew, with hashes
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url --upgrade --extra dev --extra local --extra otlp pyproject.toml -o constraints.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url -c constraints.txt --extra otlp pyproject.toml -o constraints-runtime.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url --upgrade deploy/lint-requirements.in -o deploy/lint-requirements.txt

image: ## Build the container image (IMAGE, PYTHON_IMAGE=...@sha256:...)
	$(DOCKER) build --tag $(IMAGE) \
	  --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) \
	  --build-arg VERSION=$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' worker/__init__.py) \
	  --build-arg REVISION=$(shell git rev-parse --verify --quiet HEAD 2>/dev/null) \
	  --build-arg SOURCE=$(SOURCE) .

test-containers: $(VENV)/ready image ## Run the image's tests; without Docker they fail
	@CONTAINER_TESTS=insist CONTAINER_TESTS_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/containers

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) $(VENV)-deploy *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Apart from the worker's own packages: checkov alone brings a hundred.
$(VENV)-deploy/ready: deploy/lint-requirements.txt
	@test -x $(VENV)-deploy/bin/python || $(PYTHON) -m venv $(VENV)-deploy
	@echo "installing into $(VENV)-deploy ..."
	@$(VENV)-deploy/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@
