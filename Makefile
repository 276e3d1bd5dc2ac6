# What one can do here; `make` alone lists it. The first run makes a virtual environment, later runs start at once.
# Another interpreter: make demo PYTHON=python3.12. Another torch: make test TORCH=torch==2.4.1.

PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO_ARGS ?=
BENCH_ARGS ?=
CHAOS_ARGS ?= --minutes 10 --kills 200
TEST_ARGS ?= -n auto

DEMO := .venv-demo
DEV := .venv
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check chaos bundle bench

help: ## list what there is
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name says; do \
	  printf '  %-8s%s\n' "$$name" "$$says"; done
	@echo 'Options: make demo DEMO_ARGS="--family cap", make test TEST_ARGS="-n 2", make bench BENCH_ARGS=--help'

demo: $(DEMO)/.ready ## show the whole product on this machine: no camera, no GPU, no torch
	@$(DEMO)/bin/edge-resad demo $(DEMO_ARGS)

test: $(DEV)/.ready ## run the tests
	@$(DEV)/bin/python -m tests.engine.fake_gpu.pycuda_build
	@$(DEV)/bin/python -m pytest $(TEST_ARGS)

check: $(DEV)/.ready ## ruff and mypy over the whole tree
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/mypy

chaos: $(DEV)/.ready ## kill, freeze and cut stations, broker and collector for ten minutes and count what is lost
	@$(DEV)/bin/python -m tests.chaos $(CHAOS_ARGS)

bundle: $(DEV)/.ready ## export the bundle that the package carries
	@$(DEV)/bin/python -m export bundle --out edge_resad/bundles/edge

bench: $(DEV)/.ready ## measure latency, cold start and memory on this machine
	@$(DEV)/bin/python -m benchmarks $(BENCH_ARGS)

$(DEMO)/.ready: pyproject.toml Makefile
	$(call virtual_environment,$(DEMO))
	@echo "Installing what the demo needs into $(DEMO) (once, about a minute)."
	@$(DEMO)/bin/python -m pip install -q -e '.[demo]'
	@touch $@

# torch goes first and alone, then it is a constraint: no dependency of anything replaces the build that was chosen.
$(DEV)/.ready: pyproject.toml Makefile
	$(call virtual_environment,$(DEV))
	@echo "Installing $(TORCH) and the development tools into $(DEV) (once, a few minutes)."
	@$(DEV)/bin/python -m pip install -q '$(TORCH)'
	@$(DEV)/bin/python -m pip list --format=freeze | grep '^torch==' > $(DEV)/constraints.txt
	@$(DEV)/bin/python -m pip install -q -c $(DEV)/constraints.txt -e '.[dev,workstation,demo,trt-test,rtsp,genicam,basler,gpio,modbus,sparkplug,live,fleet]'
	@touch $@

# $(call virtual_environment,FOLDER): make one where none works yet.
define virtual_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "$(PYTHON) is not Python 3.10 or newer. Install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@$(1)/bin/python -m pip --version >/dev/null 2>&1 || { \
	  rm -rf $(1); \
	  if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(PYTHON) -m venv $(1); \
	  elif command -v virtualenv >/dev/null 2>&1; then virtualenv -q -p $(PYTHON) $(1); \
	  else echo "$(PYTHON) cannot make virtual environments: it has no ensurepip." \
	    "Install one of python3-venv (Debian, Ubuntu: apt-get install python3-venv) and virtualenv, then repeat." >&2; \
	    exit 1; fi; }
endef
