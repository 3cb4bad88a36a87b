"""Who answers a question: builds and machines. Read `Laboratory` first.

A driver asks for kernels and runs and does not care where they come from; a replay or a study answers in its own way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kbench.errors import InputError, MachineLacksError
from kbench.host import require, usable_cores
from kbench.kernels import Builder, Store
from kbench.records import KernelImage, Run, Target
from kbench.repository import Repository

if TYPE_CHECKING:
    from kbench.bisection.plan import Plan
    from kbench.liveness import Liveness, Reference

#: What a tree's get_maintainer.pl reads besides the file it is asked about.
_MAINTAINERS_READ = (
    *("scripts/get_maintainer.pl", "MAINTAINERS", "COPYING", "CREDITS", "Kbuild", "Makefile", "README"),
    *(".mailmap", ".get_maintainer.conf", ".get_maintainer.ignore", "scripts/.get_maintainer.conf"),
)


@dataclass(frozen=True, slots=True)
class CrashFindings:
    """What is known of a crash once its kernel is at hand."""

    report: str  # with file and line where the kernel's debug information has them
    recipients: tuple[str, ...] = ()  # of a report on the guilty file, by the tree's get_maintainer.pl


class Laboratory(Protocol):
    """Builds revisions and runs the reproducer on them."""

    @property
    def width(self) -> int:
        """Runs that go on side by side."""
        ...

    def check(self) -> None:
        """Raise MachineLacksError when a program it will need is missing, before anything is written."""
        ...

    def expect(self, asked: Sequence[tuple[str, int]]) -> None:
        """Take note of the (commit, runs) that are asked for next: who has room begins with all when the first is built."""
        ...

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit (40 hex digits); BuildError when it does not build."""
        ...

    def configure(self, config: str | None) -> None:
        """Build with this config from now on; None is the case's own."""
        ...

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        """Yield (number, run) as the runs end, each with its console where `console(number)` says."""
        ...

    def explain(self, kernel: KernelImage, crashed: Run) -> CrashFindings:
        """Read a crash with the help of the kernel that crashed and of its tree."""
        ...

    def liveness(self, kernel: KernelImage, original: KernelImage, crashed: Run) -> Liveness:
        """Say whether clean runs of a kernel entered the code that crashes: `crashed` shows it on the original one."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


def laboratory_of(
    plan: Plan, repository: Repository, output: Path, *, store: Store | None, jobs: int | None, cluster: Any = None
) -> Laboratory:
    """Return who builds and runs for a case: this machine, or a cluster; see `kbench.bisection.driver.Bisection`."""
    case, config = plan.case, None if plan.config is None else plan.config.decode(errors="replace")
    if case.executor == "local" and cluster is None:
        return LocalLaboratory(
            repository,
            plan.target,
            config=config,
            reproducer=None if plan.reproducer is None else output / "reproducer",
            given=case.path(case.reproducer) if case.reproducer else None,
            store=store,
            jobs=jobs,
        )
    from kbench.bisection.cluster import ClusterLaboratory  # late: most bisections never need it

    return ClusterLaboratory(
        cluster or case.scheduler,
        repository,
        plan.target,
        artefacts=case.artefacts if "://" in case.artefacts or not case.artefacts else str(case.path(case.artefacts).absolute()),
        source=case.source,
        tips=map(plan.hash, (plan.bad, plan.original, *plan.good)),
        config=config,
        reproducer=plan.reproducer,
        jobs=jobs,
    )


def check_build(target: Target) -> None:
    """Raise MachineLacksError when the first program of a build is missing."""
    for argv in target.build.commands:
        if "/" not in argv[0]:
            require(argv[0], "build")


def check_machine(target: Target, reproducer: Path | None) -> None:
    """Raise MachineLacksError when QEMU, or what the reproducer is made with, is missing."""
    machine = target.machine.argv[0]
    if "{" not in machine:  # a placeholder: the kernel runs by itself
        require(machine, "boot")
    if target.guest is not None:
        from kbench.machines import initramfs  # late: most targets never need it

        initramfs(target, reproducer)


class LocalLaboratory:
    """This machine: its compiler, its QEMU, as many runs at once as it has cores.

    `reproducer` is what is run; `given`, if that is not there yet, is the same as the user has it.
    """

    def __init__(
        self,
        repository: Repository,
        target: Target,
        *,
        config: str | None,
        reproducer: Path | None,
        given: Path | None = None,
        store: Store | None = None,
        jobs: int | None = None,
    ) -> None:
        self._config, self._store = config, store or Store()
        self._repository, self._target, self._reproducer, self._jobs = repository, target, reproducer, jobs
        self._builder = Builder(repository, target, config=config, store=self._store, jobs=jobs)
        self._given = given or reproducer
        self._reference: Reference | None = None

    @property
    def width(self) -> int:
        """As many as the runs take cores."""
        return self._jobs or usable_cores()

    def check(self) -> None:
        """Raise MachineLacksError when QEMU, a compiler or the first program of the build is missing.

        A reproducer that has to be compiled is: it is known at once, not after the first build, if that fails.
        """
        check_build(self._target)
        check_machine(self._target, self._given)

    def expect(self, asked: Sequence[tuple[str, int]]) -> None:
        """One machine has no room for more than one at a time."""

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit, from the store if it was built before."""
        return self._builder.build(commit)

    def configure(self, config: str | None) -> None:
        """Build with this config from now on."""
        self._builder.close()
        config = self._config if config is None else config
        self._builder = Builder(self._repository, self._target, config=config, store=self._store, jobs=self._jobs)

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        """Yield (number, run) as the runs end."""
        from kbench.runs import each_run  # late: loaded while the first kernel is compiled

        return each_run(kernel, numbers, reproducer=self._reproducer, console=console, jobs=self._jobs)

    def explain(self, kernel: KernelImage, crashed: Run) -> CrashFindings:
        """Add file and line to the crash's report, and ask the tree who is told of the guilty file."""
        from kbench import crash
        from kbench.symbols import symbolised

        found = crash.parse(_console(crashed))
        if found is None:
            return CrashFindings("")
        report = symbolised(found.report, kernel)
        file = crash.guilty_file(report)
        return CrashFindings(report, self._recipients(kernel.commit, file) if kernel.commit and file else ())

    def liveness(self, kernel: KernelImage, original: KernelImage, crashed: Run) -> Liveness:
        """Ask `kbench.liveness.probe`; a crash without a report leaves it not known."""
        from kbench import crash
        from kbench.liveness import Liveness, Reference, probe

        if self._reference is None or self._reference.kernel.commit != original.commit:
            found = crash.parse(_console(crashed))
            if found is None:
                return Liveness(None, "the crash has no report")
            self._reference = Reference(original, found, self._reproducer)
        return probe(kernel, self._reference)

    def close(self) -> None:
        """Let the build slot go."""
        self._builder.close()

    def _recipients(self, commit: str, file: str) -> tuple[str, ...]:
        # By an outline of the tree: the script looks at names of folders, and reads few files.
        if not self._target.build.linux:
            return ()
        from kbench.maintainers import maintainers

        with (
            tempfile.TemporaryDirectory(prefix="kbench-") as folder,
            self._repository.worktree(Path(folder) / "tree") as worktree,
        ):
            worktree.outline(commit, (*_MAINTAINERS_READ, file))
            try:
                return maintainers(worktree.path, file)
            except (InputError, MachineLacksError):  # a report may name files no tree has; no perl, no recipients
                return ()


def _console(run: Run) -> str:
    if run.console is None or not run.console.is_file():
        return ""
    return run.console.read_text(errors="replace")
