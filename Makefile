# make install the environment .venv with the program bilp in it, and everything that it may need (some 6.6 GB)
# make run     digits with right and with wrong labels side by side, installed first if need be (ARGS="--method dc" changes it)
# make server  a Prefect server on 127.0.0.1:4200 with every deployment; state in .bilp/service
# make worker  this machine's workers (ARGS="gpu" only those for GPU work), for that server or $PREFECT_API_URL
# make test    the first tier of the tests: units, and a quick pipeline (docs/tests.md; ARGS are options of pytest)
# make test-rest  the second tier: what starts services or takes long
# make test-all   both
# make lint    ruff, mypy, and whether the oldest PyTorch that pyproject.toml allows is one that was tested
# make constraints  the versions and checksums that the container image installs, anew (ARGS are options of uv pip compile)
# make clean   remove the environments and caches; results in bilp-storage and the service's state in .bilp stay
# make clean-service  remove .bilp: the runs, logs and login that a server here keeps; it asks first

PYTHON ?= python3
ARGS ?=
# Processes of the tests: one more than there are cores, as some wait for servers and programs.
PROCESSES ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((cores < 8 ? cores + 1 : 8)))
SWIFT := swift==2.38.3
UV := uv==0.13.9

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# One Prefect home per checkout, and nothing that asks, reports usage or needs a network.
run: export PREFECT_HOME ?= $(CURDIR)/.bilp/prefect
run: export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
run: export PREFECT_CLI_PROMPT ?= false
run: export DO_NOT_TRACK ?= 1
run: export PYTHONUNBUFFERED = 1

.DEFAULT_GOAL := help
.PHONY: help install run server worker test test-rest test-all lint format constraints clean clean-service

help:
	@sed -n 's/^# \(make \)/\1/p' $(firstword $(MAKEFILE_LIST))

install: .venv/.installed
	@echo "Go on with: source .venv/bin/activate, then bilp --help"

run: .venv/.installed
	$(BIN)/bilp study wrong-labels --processes 2 $(ARGS)
	@echo
	@echo "Open that page in a browser. Then, in this shell:"
	@echo "  source .venv/bin/activate"
	@echo "  bilp run --dataset digits                         # one pipeline, with a report that shows every image and decision"
	@echo "  bilp run photos/                                  # your own: photos/train/<class>/*.jpg, photos/test/<class>/*.jpg"
	@echo "  bilp --help                                       # everything else"

server: .venv/.installed
	$(BIN)/bilp server

worker: .venv/.installed
	$(BIN)/bilp worker $(ARGS)

FIRST_TIER := "not service and not slow"
SECOND_TIER := "service or slow"
# Without bytecode, every process of the tests, and every program that they start, would compile everything anew.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

test: .venv/.installed-dev .venv-s3/.installed
	$(PYTEST) -m $(FIRST_TIER) $(ARGS)

test-rest: .venv/.installed-dev .venv-s3/.installed
	$(PYTEST) -m $(SECOND_TIER) $(ARGS)

test-all: .venv/.installed-dev .venv-s3/.installed
	$(PYTEST) $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m benchmarks.oldest check

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

CONSTRAINTS := deployments/constraints.txt

constraints: .venv-uv/.installed
	@{ echo "# What deployments/Containerfile installs, on Linux on x86-64 with Python 3.12; written by \`make constraints\`."; \
	.venv-uv/bin/uv pip compile pyproject.toml --extra kubernetes --extra all --upgrade --generate-hashes --only-binary :all: --no-header \
	--no-annotate --no-emit-index-url --python-version 3.12 --python-platform x86_64-manylinux_2_28 --quiet $(ARGS); } > $(CONSTRAINTS).new
	@mv $(CONSTRAINTS).new $(CONSTRAINTS)

clean:
	rm -rf .venv .venv-oldest .venv-s3 .venv-uv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find bilp tasks flows recipes tests benchmarks deployments drill -name __pycache__ -type d -exec rm -rf {} +

clean-service:
	@printf "Remove .bilp, with the runs, logs and login that a server here keeps? Results stay. [y/N] "; \
	read answer; case "$$answer" in y|Y) rm -rf .bilp;; *) echo "kept";; esac

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@echo "Creating the environment .venv"
	@$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	@echo "Installing the packages: some 6.6 GB with PyTorch, minutes the first time"
	@$(PIP) install --editable '.[all]'
	@touch $@

.venv/.installed-dev: pyproject.toml | .venv/bin/python
	@echo "Installing the packages and the tools of developers: some 6.9 GB with PyTorch, minutes the first time"
	@$(PIP) install --editable '.[dev]'
	@touch .venv/.installed $@

.venv-uv/.installed: Makefile
	@$(PYTHON) -m venv .venv-uv
	@.venv-uv/bin/python -m pip --quiet --disable-pip-version-check install $(UV)
	@touch $@

.venv-s3/.installed: Makefile
	@echo "Installing the object storage server of the tests into .venv-s3"
	@$(PYTHON) -m venv .venv-s3
	@.venv-s3/bin/python -m pip --quiet --disable-pip-version-check install $(SWIFT)
	@touch $@
