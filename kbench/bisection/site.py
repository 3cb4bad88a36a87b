"""What a worker of a cluster does for a bisection: it is a `LocalLaboratory` for the length of a task. Read `Site` first.

Nothing is kept in memory from task to task. A worker's warm tree is its store's build slot: a mirror of the repository, a
worktree and its objects, below the worker's own cache folder; and what was built anywhere is among the artefacts.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import kbench
from kbench.bisection.laboratory import CrashFindings, LocalLaboratory, check_build, check_machine
from kbench.errors import BuildError, LostMachineError, MachineLacksError, StorageError
from kbench.kernels import cache
from kbench.kernels.artefacts import Artefacts, SharedStore
from kbench.kernels.toolchain import toolchain
from kbench.leases import Lease
from kbench.liveness import Liveness
from kbench.records import KernelImage, Outcome, Run, Target
from kbench.repository import Repository
from kbench.repository.mirror import Mirror
from kbench.runs import each_run


@dataclass(frozen=True, slots=True)
class Site:
    """What a worker is told of a case. Travels with every task."""

    artefacts: str  # URL of what the machines share
    source: str  # the repository, as workers reach it; "": its commits come as packs
    repository: str  # names the mirror of it
    target: Target
    config: str | None
    reproducer: bytes | None
    fixes: tuple[str, ...] = ()  # commits that builds pick from
    packs: tuple[tuple[str, str], ...] = ()  # (commit it completes, name among the artefacts), in order
    version: str = kbench.__version__
    toolchain: Mapping[str, str] = field(default_factory=dict)  # what all workers have to build with; {}: not known yet


def check(site: Site, builds: bool) -> Mapping[str, str]:
    """Look for what a worker needs, to build or else to run, and return its toolchain."""
    with at_work(site) as here:
        if kbench.__version__ != site.version:
            raise MachineLacksError(f"cluster: expected kbench {site.version}, seen {kbench.__version__}; install one everywhere")
        if builds:
            check_build(site.target)
        else:
            check_machine(site.target, here.reproducer)
        return toolchain()


def build(site: Site, commit: str) -> KernelImage | BuildError:
    """Return the kernel of a commit, from the artefacts or from this worker's compiler; that it does not build is an answer."""
    with at_work(site) as here:
        try:
            return here.build(commit)
        except BuildError as error:
            return error


def run(site: Site, kernel: KernelImage | BuildError) -> tuple[Run, bytes]:
    """Run the reproducer once; return the run, without the path of its console, and what that printed."""
    if isinstance(kernel, BuildError):  # begun before that was known; nobody reads it
        return Run(Outcome.INFRA, str(kernel)), b""
    with at_work(site) as here:
        console = here.folder / "console"
        kernel = here.located(replace(kernel, symbols=None, config=None))  # much larger, and no machine reads them
        [(_, done)] = each_run(kernel, [0], reproducer=here.reproducer, console=lambda _: console, jobs=1)
        return replace(done, console=None), console.read_bytes() if console.is_file() else b""


def explain(site: Site, kernel: KernelImage, crashed: Run, console: bytes) -> CrashFindings:
    """As `Laboratory.explain`, of a run with that console."""
    with at_work(site) as here:
        if kernel.commit:
            here.fetch(kernel.commit)  # the tree says who is told of the guilty file
        return here.laboratory.explain(here.located(kernel), here.with_console(crashed, console))


def liveness(site: Site, kernel: KernelImage, original: KernelImage, crashed: Run, console: bytes) -> Liveness:
    """As `Laboratory.liveness`, of a run with that console."""
    with at_work(site) as here:
        kernel, original = here.located(kernel), here.located(original)
        return here.laboratory.liveness(kernel, original, here.with_console(crashed, console))


class _AtWork:
    """A worker during one task; files that its store has found stay while there is the store."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site, self.folder = site, folder
        self._store = SharedStore(Artefacts(site.artefacts))
        self._lease = Lease(self._store.root)
        self.reproducer = None if site.reproducer is None else self._written("reproducer", site.reproducer)

    def close(self) -> None:
        """Let go of the mirror."""
        self._lease.close()

    @cached_property
    def _mirror(self) -> Mirror:
        name = f"mirrors/{hashlib.sha256((self._site.source or self._site.repository).encode()).hexdigest()[:16]}.git"
        self._lease.hold(name)
        mirror = Mirror(self._store.root / name, self._site.source)
        cache.touch(mirror.path)
        return mirror

    @cached_property
    def laboratory(self) -> LocalLaboratory:
        """This worker, asked like any machine."""
        site, repository = self._site, Repository(self._mirror.path)
        return LocalLaboratory(repository, site.target, config=site.config, reproducer=self.reproducer, store=self._store)

    def build(self, commit: str) -> KernelImage:
        """Build a commit, with the compiler all workers have."""
        if self._site.toolchain and (seen := toolchain()) != self._site.toolchain:
            wanted = dict(self._site.toolchain)
            raise MachineLacksError(f"build: expected the other workers' {wanted}, seen {seen}; install one everywhere")
        for name in (*self._site.fixes, commit):
            self.fetch(name)
        try:
            return self.laboratory.build(commit)
        finally:
            self.laboratory.close()

    def fetch(self, commit: str) -> None:
        """Bring a commit into the mirror."""
        if self._mirror.find(commit):
            return
        for tip, name in self._site.packs:
            if self._mirror.has(tip) and name != self._site.packs[-1][1]:
                continue
            with self._store.artefacts.fetched(name) as pack:
                if pack is None:
                    raise StorageError(
                        f"artefacts: expected a pack of {tip[:12]} in {self._site.artefacts}, found none; start again"
                    )
                self._mirror.receive(pack, tip)
        if not self._mirror.find(commit):
            where = self._site.source or self._site.artefacts
            raise StorageError(f"git: expected {commit[:12]} from {where}, it is not there; correct `source`")

    def located(self, kernel: KernelImage) -> KernelImage:
        """Return a kernel with its files on this worker; one whose artefacts are gone or damaged is built again."""
        found = self._store.located(kernel)
        if found is None and kernel.commit:
            found = self._store.located(self.build(kernel.commit))
        if found is None:
            name = kernel.path.name[:12]
            raise LostMachineError(f"cluster: expected the files of {name}, they do not arrive whole; see {self._site.artefacts}")
        return found

    def with_console(self, run: Run, console: bytes) -> Run:
        """Return a run of another machine with its console here."""
        return replace(run, console=self._written("console", console))

    def _written(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


@contextlib.contextmanager
def at_work(site: Site) -> Iterator[_AtWork]:
    """Say on which worker something is missing."""
    try:
        with tempfile.TemporaryDirectory(prefix="kbench-") as folder, contextlib.closing(_AtWork(site, Path(folder))) as here:
            yield here
    except (MachineLacksError, StorageError) as error:
        raise type(error)(f"{error} (on worker {socket.gethostname()})") from None
