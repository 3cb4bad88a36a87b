"""What several test modules build: Linux in one repository, so that all of them share build slots and what is in them."""

from __future__ import annotations

import signal
import subprocess

import pytest
from filelock import FileLock

from kbench.host import cache_dir
from kbench.kernels import Builder
from kbench.lab.linux.source import Base, base_repository
from kbench.records import KernelImage
from kbench.repository import Repository
from kbench.targets import TARGETS


def pytest_configure() -> None:
    """Let interrupts in: a job that a script put into the background ignores them, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def linux_base() -> Base:
    """The Linux source that is here, in a repository for the commits of all tests; it stays in the cache with its builds."""
    base = base_repository()
    path = cache_dir().absolute() / "tests" / base.repository.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not (path / "HEAD").exists():
            subprocess.run(["git", "clone", "--quiet", "--bare", base.repository, path], check=True)
    return Base(path, base.commit)


def base_kernel(target: str, config: str | None = None) -> KernelImage:
    """The kernel of that source, with the config kbench ships for a target and a fragment on top."""
    base = linux_base()
    with Builder(Repository(base.repository), TARGETS[target], config=config) as builder:
        return builder.build(base.commit)


@pytest.fixture(scope="session")
def um_kernel() -> KernelImage:
    return base_kernel("um")


@pytest.fixture(scope="session")
def x86_kernel() -> KernelImage:
    return base_kernel("qemu-x86_64")


@pytest.fixture(scope="session")
def arm_kernel() -> KernelImage:
    return base_kernel("qemu-aarch64")
