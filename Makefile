# `make` lists the targets. Each does its own set-up; nothing needs to be installed by hand.

PYTHON ?= python3
# Each makes .venv ready where it is not, then runs a command in it.
RUN := $(PYTHON) scripts/bootstrap.py --extras local --
TEST := $(PYTHON) scripts/bootstrap.py --extras local,otlp,test --
DEV := $(PYTHON) scripts/bootstrap.py --extras local,otlp,test,dev --
# The text as it was typed: `$`, quotes and backticks in a path mean themselves.
override PHOTOS := $(value PHOTOS)
export PHOTOS
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

run: ## Run everything on this machine; PHOTOS=folder for your own photos
	@exec $(RUN) photo-worker local $${PHOTOS:+-- "$$PHOTOS"}

test: ## Run the whole test suite
	@exec $(TEST) python -m pytest $(TWO)

test-fast: ## Run the tests that need no server
	@exec $(TEST) python -m pytest $(TWO) tests/unit tests/fuzz

soak: ## Kill workers for SOAK_SECONDS=600, then 5,000 events for memory
	@SOAK_SECONDS=$(SOAK_SECONDS) exec $(TEST) python -m pytest --capture=no \
	  tests/e2e/test_kills.py tests/e2e/test_flat_memory.py

fuzz: ## Damage FUZZ_FILES=5000 pictures and render them, and 20,000 for the parsers alone
	@FUZZ_FILES=$(FUZZ_FILES) FUZZ_SKELETONS=20000 exec $(TEST) python -m pytest --capture=no \
	  tests/fuzz/test_mutated_skeletons.py tests/fuzz/test_mutated_pictures.py

lint: ## Check style, types and the direction of imports
	@exec $(DEV) ruff format --check .
	@exec $(DEV) ruff check .
	@exec $(DEV) mypy
	@exec $(DEV) lint-imports --no-logo

lint-deploy: ## Check Terraform, cloud-init, the image and the workflow
	@$(PYTHON) scripts/bootstrap.py --venv .venv-deploy --requirements deploy/lint-requirements.txt -- \
	  python scripts/lint_deploy.py

format: ## Format the code
	@exec $(DEV) ruff check --fix-only --quiet .
	@exec $(DEV) ruff format .

constraints: ## Pin every dependency anew, with hashes
	@exec $(DEV) uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url --upgrade --all-extras pyproject.toml -o constraints.txt
	@exec $(DEV) uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url -c constraints.txt --extra otlp pyproject.toml -o constraints-runtime.txt
	@exec $(DEV) uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url --upgrade deploy/lint-requirements.in -o deploy/lint-requirements.txt

image: ## Build the container image (IMAGE, PYTHON_IMAGE=...@sha256:...)
	$(DOCKER) build --tag $(IMAGE) \
	  --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) \
	  --build-arg VERSION=$(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' worker/__init__.py) \
	  --build-arg REVISION=$(shell git rev-parse --verify --quiet HEAD 2>/dev/null) \
	  --build-arg SOURCE=$(SOURCE) .

test-containers: image ## Run the image's tests; without Docker they fail
	@CONTAINER_TESTS=insist CONTAINER_TESTS_IMAGE=$(IMAGE) exec $(TEST) python -m pytest tests/containers

clean: ## Remove the virtual environment and all caches
	rm -rf .venv .venv-deploy *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
