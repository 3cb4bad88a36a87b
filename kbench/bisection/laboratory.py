"""Who answers a question: builds and machines. Read `Laboratory` first.

A driver asks for kernels and runs and does not care where they come from; a replay or a study answers in its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from kbench.host import require
from kbench.kernels import Builder, Store
from kbench.records import KernelImage, Run, Target
from kbench.repository import Repository


class Laboratory(Protocol):
    """Builds revisions and runs the reproducer on them."""

    def check(self) -> None:
        """Raise MachineLacksError when a program it will need is missing, before anything is written."""
        ...

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit (40 hex digits); BuildError when it does not build."""
        ...

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        """Yield (number, run) as the runs end, each with its console where `console(number)` says."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


class LocalLaboratory:
    """This machine: its compiler, its QEMU, as many runs at once as it has cores."""

    def __init__(
        self,
        repository: Repository,
        target: Target,
        *,
        config: str | None,
        reproducer: Path | None,
        store: Store | None = None,
        jobs: int | None = None,
    ) -> None:
        self._builder = Builder(repository, target, config=config, store=store, jobs=jobs)
        self._target, self._reproducer, self._jobs = target, reproducer, jobs

    def check(self) -> None:
        """Raise MachineLacksError when QEMU or the first program of the build is missing."""
        require(self._target.machine.argv[0], "boot")
        for argv in self._target.build.commands:
            if "/" not in argv[0]:
                require(argv[0], "build")

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit, from the store if it was built before."""
        return self._builder.build(commit)

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        """Yield (number, run) as the runs end."""
        from kbench.runs import each_run  # late: loaded while the first kernel is compiled

        return each_run(kernel, numbers, reproducer=self._reproducer, console=console, jobs=self._jobs)

    def close(self) -> None:
        """Let the build slot go."""
        self._builder.close()
