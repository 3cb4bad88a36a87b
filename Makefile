# kbench: `make demo` and `make test` are all a fresh Debian or Ubuntu machine needs.
#
#   make demo    install, then bisect the lab kernel through papermill and show what came out
#   make test    install, then run all tests, those on real machines included
#   make check   ruff and mypy
#   make bench   the figures the README claims
#   make lab     open JupyterLab on the notebooks
#   make pictures   draw the README's pictures again

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test check bench lab pictures install install-test packages packages-browser clean

help:
	@sed -n '3,8s/^# *//p' Makefile

# What kbench needs from Debian, and the programs that show it is there.
PACKAGES := git gcc make qemu-system-x86 python3-venv
BROWSER := chromium fonts-dejavu-core

packages:
	@.ci/packages $(PACKAGES)

packages-browser: packages
	@.ci/packages $(BROWSER)

install: packages $(VENV)/.installed
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

test: install-test
	@$(BIN)/python -m pytest

check: install-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check kbench tests
	@$(BIN)/mypy

bench: install
	@$(BIN)/python -m tests.bench

lab: install
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

pictures: install-test
	@$(BIN)/python -m tests.pictures

clean:
	rm -rf out build dist .mypy_cache .ruff_cache .pytest_cache
