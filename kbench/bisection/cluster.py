"""The laboratory that is a Dask cluster. Read `ClusterLaboratory` first; `kbench.bisection.site` is its other half.

The driver asks it as it asks `LocalLaboratory`, and what is told, in which order, is the same: the journal of a bisection can
be begun here and ended there. Kernels stay where they are; what comes back is records and consoles.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbench.bisection import site as work
from kbench.bisection.laboratory import CrashFindings
from kbench.bisection.site import Site
from kbench.errors import BuildError, CaseError, LostMachineError, RevisionError
from kbench.execution import Cluster, Task
from kbench.host import storage
from kbench.kernels.artefacts import Artefacts
from kbench.kernels.releases import backports
from kbench.kernels.store import Store
from kbench.records import KernelImage, Outcome, Run, Target
from kbench.repository import Repository
from kbench.repository.mirror import packed

if TYPE_CHECKING:
    from distributed import Future

    from kbench.liveness import Liveness


#: Runs of one bisection that are handed in, however few machines there are now: a cluster grows by what waits.
IN_FLIGHT = 32


class ClusterLaboratory:
    """The workers of a Dask cluster: their compilers, their machines.

    Parameters
    ----------
    where : str, or a cluster or client of Dask
        See `kbench.execution.Cluster`; connected to by `check`.
    repository : Repository
        Here; workers need not see it.
    target : Target
    artefacts : str
        URL of a place that this machine and all workers reach; see `kbench.kernels.artefacts`.
    source : str
        The repository as workers reach it, a URL or a path of theirs; "": commits go to them as packs, through `artefacts`.
    tips : iterable of str
        Commits (40 hex digits) that between them contain all that will be asked for, but for commits made on the way.
    config : str, optional
    reproducer : bytes, optional
        Content of the user's file.
    jobs : int, optional
        Runs of this bisection at once; as many as the cluster has machines by default.
    """

    def __init__(
        self,
        where: Any,
        repository: Repository,
        target: Target,
        *,
        artefacts: str,
        source: str = "",
        tips: Iterable[str],
        config: str | None = None,
        reproducer: bytes | None = None,
        jobs: int | None = None,
    ) -> None:
        fixes = tuple(_fixes(repository, target))
        self._where, self._repository, self._jobs, self._config = where, repository, jobs, config
        self._tips = tuple(dict.fromkeys((*tips, *fixes)))
        self._site = Site(artefacts, source, str(repository.path.resolve()), target, config, reproducer, fixes)
        self._connected: Cluster | None = None
        self._expected: list[tuple[str, int]] = []
        self._begun: dict[str, tuple[Future[Any], dict[int, Future[Any]]]] = {}  # by commit: its build, and its runs by number

    @property
    def width(self) -> int:
        """As many as the cluster has machines, and `jobs` allows."""
        slots = max(self._cluster.slots("machine"), 1)
        return min(slots, self._jobs or slots)

    def check(self) -> None:
        """Connect, and raise MachineLacksError when no worker builds or runs, or one lacks a program."""
        if not self._where or not self._site.artefacts:
            missing = "artefacts" if self._where else "scheduler"
            raise CaseError(
                f"case: expected `{missing}` with executor 'dask', the case names none; "
                "scheduler = 'tcp://host:8786' is where the cluster is, artefacts = 's3://…' or a folder what its machines share"
            )
        artefacts = Artefacts(self._site.artefacts)
        self._connected = Cluster(self._where)
        for resource in ("machine", "build"):
            chain = self._cluster.first(Task(resource, work.check, (self._site, resource == "build")))
        self._site = replace(self._site, toolchain=chain)
        if not self._site.source and not self._site.packs:
            self._site = replace(self._site, packs=self._packed(artefacts))

    def expect(self, asked: Sequence[tuple[str, int]]) -> None:
        """Take note of what is asked for next; what was begun in vain is given up."""
        self._begun.clear()
        self._expected = list(asked)

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit, whichever worker built it, for whichever bisection.

        One that workers do not survive counts as one that does not build, until it is asked for again.
        """
        self._begin(commit)
        begun = self._begun.get(commit)
        future = begun[0] if begun else self._cluster.submit(self._building(commit))
        try:
            kernel: KernelImage | BuildError = self._cluster.result(future)
        except LostMachineError as error:
            raise BuildError(str(error), log="", file="", timed_out=True) from error
        if isinstance(kernel, BuildError):
            raise kernel
        return replace(kernel, commit=commit)  # another commit with this tree may have been first

    def configure(self, config: str | None) -> None:
        """Build with this config from now on."""
        self.expect(())
        self._site = replace(self._site, config=self._config if config is None else config)

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        """Yield (number, run) as the runs end; one whose workers were lost thrice and more is an infra problem."""
        begun = self._begun[kernel.commit][1] if kernel.commit in self._begun else {}
        tasks = (
            (number, begun.pop(number) if number in begun else self._running(kernel, place))
            for place, number in enumerate(numbers)
        )
        for number, future in self._cluster.batch(tasks, self._jobs or max(self.width, IN_FLIGHT)):
            try:
                run, printed = self._cluster.result(future)
            except LostMachineError as error:
                run, printed = Run(Outcome.INFRA, str(error)), b""
            path = console(number)
            with storage("repro", path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(printed)
            yield number, replace(run, console=path)

    def explain(self, kernel: KernelImage, crashed: Run) -> CrashFindings:
        """As `LocalLaboratory.explain`, where the kernel is."""
        try:
            found: CrashFindings = self._call(Task("machine", work.explain, (self._site, kernel, crashed, _console(crashed))))
        except LostMachineError:
            return CrashFindings("")
        return found

    def liveness(self, kernel: KernelImage, original: KernelImage, crashed: Run) -> Liveness:
        """As `LocalLaboratory.liveness`, where the kernels are."""
        from kbench.liveness import Liveness

        arguments = self._site, *map(_light, (kernel, original)), crashed, _console(crashed)
        try:
            seen: Liveness = self._call(Task("machine", work.liveness, arguments))
        except LostMachineError as error:
            return Liveness(None, f"not known: {error}")
        return seen

    def close(self) -> None:
        """Give up what is not done, and leave the cluster."""
        self.expect(())
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    @property
    def _cluster(self) -> Cluster:
        assert self._connected is not None, "check comes first"
        return self._connected

    def _call(self, task: Task) -> Any:
        return self._cluster.result(self._cluster.submit(task))

    def _begin(self, commit: str) -> None:
        """Begin with a commit that was expected, and with those after it: what is before it was answered already."""
        commits = [name for name, _ in self._expected]
        if commit not in commits:
            return
        batch, self._expected = self._expected[commits.index(commit) :], []
        place = 0
        for name, runs in batch if len(batch) > 1 else ():
            built = self._cluster.submit(self._building(name))
            running = {
                number: self._cluster.submit(self._running(built, place + number)) for number in range(min(runs, self.width))
            }
            place += len(running)
            self._begun[name] = built, running

    def _building(self, commit: str) -> Task:
        site = replace(self._site, packs=(*self._site.packs, *self._made_on_the_way(commit)))
        decides = repr(
            (self._repository.tree(commit), site.target.build, site.config, sorted(site.toolchain.items()), site.version)
        )
        return Task("build", work.build, (site, commit), key=f"build-{hashlib.sha256(decides.encode()).hexdigest()}")

    def _running(self, kernel: KernelImage | Future[Any], place: int) -> Task:
        return Task("machine", work.run, (self._site, _light(kernel)), place=place)

    def _packed(self, artefacts: Artefacts) -> tuple[tuple[str, str], ...]:
        """Send all commits there will be, unless another bisection has sent the same, and return the pack's name."""
        return ((self._tips[0], self._sent(artefacts, self._tips, ())),)

    def _made_on_the_way(self, commit: str) -> Iterator[tuple[str, str]]:
        """Yield the pack of a commit that no tip contains: one with another undone."""
        if not any(self._repository.is_ancestor(commit, tip) for tip in self._tips):
            yield commit, self._sent(Artefacts(self._site.artefacts), (commit,), self._tips)

    def _sent(self, artefacts: Artefacts, commits: tuple[str, ...], without: tuple[str, ...]) -> str:
        key = Store.key(pack=commits, without=without)
        found = (artefacts.find(key) or {}).get("pack")
        if found and artefacts.has(str(found)):
            return str(found)
        with tempfile.TemporaryDirectory(prefix="kbench-") as folder:
            name = artefacts.send(packed(self._repository, commits, Path(folder), without=without))
        artefacts.keep(key, {"pack": name})
        return name


def _fixes(repository: Repository, target: Target) -> Iterator[str]:
    """Yield the fixes that builds pick from the repository, of those it has."""
    if target.build.linux is not None:
        for name in dict.fromkeys((*(backport.fix for backport in backports()), *target.build.backports)):
            with contextlib.suppress(RevisionError):
                yield repository.resolve(name)


def _light(kernel: KernelImage | Future[Any]) -> Any:
    """Leave out of a kernel what no run needs: thousands of file names."""
    return replace(kernel, files=None) if isinstance(kernel, KernelImage) else kernel


def _console(run: Run) -> bytes:
    return b"" if run.console is None or not run.console.is_file() else run.console.read_bytes()
