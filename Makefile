# kbench: `make demo` and `make test` are all a fresh Debian or Ubuntu machine needs.
#
#   make demo         install, then bisect the lab kernel through papermill and show what came out
#   make demo-linux   the same with real Linux under User-Mode Linux, sources and compilers installed as well
#   make test         install, then run the tests, those on real machines included
#   make test-linux   install, then run the tests that build and boot real Linux; test-linux-aarch64 are those left out there
#   make check        ruff and mypy
#   make bench        the figures the README claims
#   make bench-linux  those about Linux; bench-search, bench-study, bench-lab: the search; bench-crash: crash reports;
#                     bench-dask, bench-sweep: many at once; bench-widgets: what one sees
#   make faults       kill, fill up, damage and move away what bisections stand on; make soak: 300 bisections in a row
#   make fuzz         drawn consoles against the crash parser
#   make lab          open JupyterLab on the notebooks
#   make pictures     draw the README's pictures again

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES := $(shell nproc)
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo demo-linux test test-linux check bench bench-linux bench-search bench-lab bench-study bench-crash bench-dask
.PHONY: bench-sweep bench-widgets faults soak fuzz lab pictures clean
.PHONY: test-linux-um test-linux-qemu test-linux-aarch64
.PHONY: install install-linux install-test packages packages-browser packages-linux packages-linux-test

help:
	@sed -n '3,15s/^# *//p' Makefile

# What kbench needs from Debian, and the programs that show it is there.
PACKAGES := git gcc make qemu-system-x86 python3-venv
BROWSER := chromium fonts-dejavu-core
# Small programs that the tests compile for this host; networks between workers of a cluster.
TEST := libc6-dev iproute2
# What a Linux build takes, the guest's shell, and a source to plant bugs in.
LINUX := flex bison bc libelf-dev libssl-dev libc6-dev perl binutils busybox-static ccache linux-source-6.12
# Other compilers and another architecture, for the tests.
LINUX_TEST := cpio gcc-11 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm

packages:
	@.ci/packages $(PACKAGES)

packages-browser: packages
	@.ci/packages $(BROWSER) $(TEST)

packages-linux: packages
	@.ci/packages $(LINUX)

packages-linux-test: packages-linux
	@.ci/packages $(LINUX_TEST)

install: packages $(VENV)/.installed
install-linux: packages-linux install
install-test: packages-browser $(VENV)/.installed-test

# uv installs the same packages as pip from the same registry, in a fifth of the time; where it cannot be had, pip does.
$(VENV)/.installed: pyproject.toml
	@.ci/install $(PYTHON) $(VENV) .
	@touch $@

$(VENV)/.installed-test: pyproject.toml
	@.ci/install $(PYTHON) $(VENV) '.[test]'
	@touch $@ $(VENV)/.installed

demo: install
	@$(BIN)/kbench lab demo out/demo

demo-linux: install-linux
	@$(BIN)/kbench lab demo out/demo-linux --kernel linux

# One more at a time than there are cores, for some wait; each file by one of them.
test: install-test
	@$(BIN)/python -m pytest -m 'not linux and not faults' --numprocesses=$(shell expr $(CORES) + 1) --dist=loadfile

# In two parts beside each other, each with slots of its own to build in: linking and booting take one core only.
test-linux: packages-linux-test install-test
	@$(MAKE) --no-print-directory --jobs=2 test-linux-um test-linux-qemu

test-linux-um: MARKED := linux and not qemu and not aarch64
test-linux-qemu: MARKED := linux and qemu and not aarch64
test-linux-aarch64: MARKED := aarch64
test-linux-um test-linux-qemu test-linux-aarch64: packages-linux-test install-test
	@set -o pipefail; MAKEFLAGS= $(BIN)/python -m pytest -v --durations=25 --timeout=1800 -m '$(MARKED)' | sed --unbuffered 's/^/$(@:test-linux-%=%): /'

check: install-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check kbench tests
	@$(BIN)/mypy

bench: install
	@$(BIN)/python -m tests.bench

bench-search: install
	@$(BIN)/python -m tests.bench_search

bench-lab: install
	@$(BIN)/python -m tests.bench_lab

bench-study: install
	@$(BIN)/python -m tests.bench_study

bench-crash: install-test
	@$(BIN)/python -m tests.bench_crash

fuzz: install-test
	@$(BIN)/python -m pytest -q tests/fuzz_crash.py

bench-dask: install-test
	@$(BIN)/python -m tests.bench_dask

bench-sweep: install
	@$(BIN)/python -m tests.bench_sweep

bench-widgets: install-test
	@$(BIN)/python -m tests.bench_widgets

# Half of their time they wait for what does not come.
faults: install-test
	@$(BIN)/python -m pytest -m faults --numprocesses=$(shell expr $(CORES) \* 2) tests/test_faults.py

soak: install-test
	@$(BIN)/python -m tests.soak

bench-linux: install-linux
	@$(BIN)/python -m tests.bench_linux

# The launcher's entries put copies of the notebooks there.
lab: install
	@mkdir -p out/lab
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) out/lab

pictures: install-test
	@$(BIN)/python -m tests.pictures

clean:
	rm -rf out build dist .mypy_cache .ruff_cache .pytest_cache
