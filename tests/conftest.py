"""Kernels that several test modules boot: built once, kept in kbench's cache, the same commit and config everywhere."""

from __future__ import annotations

import pytest

from kbench.kernels import Builder
from kbench.records import KernelImage
from kbench.repository import Repository
from kbench.targets import TARGETS


def base_kernel(target: str, config: str | None = None) -> KernelImage:
    """The Linux source that is here, with the config kbench ships for a target and a fragment on top."""
    from kbench.lab.linux.source import base_repository

    base = base_repository()
    with Builder(Repository(base.repository), TARGETS[target], config=config) as builder:
        return builder.build(base.commit)


@pytest.fixture(scope="session")
def um_kernel() -> KernelImage:
    return base_kernel("um")


@pytest.fixture(scope="session")
def x86_kernel() -> KernelImage:
    return base_kernel("qemu-x86_64")
