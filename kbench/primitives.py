"""The four primitives as users call them: `build`, `boot`, `repro`, `bisect`.

Each takes and returns plain records, works from a plain prompt without Jupyter, and shows a progress bar when it takes
longer than a second and somebody is looking.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbench.bisection import Bisection, BisectionResult
from kbench.bisection.case import load_case
from kbench.bisection.specs import shipped_config
from kbench.bisection.view import view
from kbench.errors import InputError, KbenchError
from kbench.host import cache_dir, storage, usable_cores
from kbench.kernels import Builder, compile_tree
from kbench.kernels.builder import image_of
from kbench.kernels.store import lasting_store
from kbench.progress import Progress
from kbench.records import BisectionView, KernelImage, MachineSpec, Target
from kbench.repository import Repository
from kbench.targets import REPRODUCER_CHECKS, TARGETS

if TYPE_CHECKING:
    from email.message import EmailMessage

    from matplotlib.axes import Axes

    from kbench.machines import Machine
    from kbench.runs import RunSet


def build(
    source: str | Path,
    *,
    config: Path | str | Sequence[Path | str] | None = None,
    target: str | Target = "lab",
    jobs: int | None = None,
) -> KernelImage:
    """Build a kernel, or fetch it from the store when this tree was built before.

    Parameters
    ----------
    source : str or Path
        "REPOSITORY@REVISION", built in a worktree of kbench's own; or a folder, built as it is.
    config : path or list, optional
        The kernel's config: a file, for Linux the name of a base kbench ships too, or a list of these; the target's default
        otherwise.
    target : str or Target
        A kind of kernel kbench knows by name, or one of your own.
    jobs : int, optional
        Compiler jobs; the number of usable cores by default.

    Raises
    ------
    BuildError
        It does not build; the message is the compiler's first error.
    InputError
        No such folder, repository, revision, config or target.
    """
    if isinstance(target, str):
        if target not in TARGETS:
            raise InputError(f"build: expected a target of {', '.join(sorted(TARGETS))}, seen {target!r}; or pass a Target")
        target = TARGETS[target]
    names = [] if config is None else [config] if isinstance(config, str | Path) else config
    content = "\n".join(_text(_shipped(name), "config") for name in names) if names else None
    folder, at, revision = str(source).rpartition("@")
    with Progress(f"building {source}"):
        if at and not Path(source).is_dir():
            repository = Repository(Path(folder))
            with Builder(repository, target, config=content, jobs=jobs, store=lasting_store(cache_dir())) as builder:
                return builder.build(repository.resolve(revision))
        tree = Path(source).resolve()
        if not tree.is_dir():
            raise InputError(f"build: expected a folder or REPOSITORY@REVISION, {str(source)!r} is neither; check the path")
        if target.build.clean:
            raise InputError(
                f"build: expected REPOSITORY@REVISION, as this target builds in the source tree and {tree} is yours; add @HEAD"
            )
        store = lasting_store(cache_dir())
        with store.slot(f"folder {tree}") as slot:
            entry = compile_tree(tree, slot, target, config=content, store=store, jobs=jobs or usable_cores())
        return image_of(store, target, entry, commit=None, cached=False)


def boot(kernel: KernelImage, *, console: Path | None = None) -> Machine:
    """Boot a kernel and return the machine, for use in a with block.

    `machine.run("uname")` types a command and returns what it printed, for targets that take commands.

    Raises
    ------
    MachineLacksError
        QEMU is not there.
    LostMachineError
        It did not boot; the message says what was seen last.
    """
    from kbench.machines import boot as boot_image

    return boot_image(kernel.target.machine, kernel, console=console)


def repro(
    kernel: KernelImage,
    reproducer: Path | str | None = None,
    *,
    runs: int = 10,
    jobs: int | None = None,
    consoles: Path | None = None,
) -> RunSet:
    """Run a reproducer on fresh machines, as many at once as there are cores, and return the `RunSet`.

    See `kbench.runs.repro` for the arguments and errors.
    """
    from kbench.runs import repro as run_reproducer

    check = REPRODUCER_CHECKS.get(kernel.target.name)
    if check and reproducer is not None and Path(reproducer).is_file():
        check(_text(reproducer, "reproducer"))
    with Progress("running the reproducer", total=runs) as progress:
        return run_reproducer(kernel, reproducer, runs=runs, jobs=jobs, consoles=consoles, on_run=lambda *_: progress.step())


class BisectionReport:
    """A bisection: its result, its view and the files it left. What `bisect` returns."""

    def __init__(self, bisection: Bisection) -> None:
        self._bisection = bisection
        self.view: BisectionView = view(bisection)

    @property
    def result(self) -> BisectionResult | None:
        """Culprit, confidence, candidates, costs; None while it has not ended."""
        return self._bisection.result

    @property
    def journal_path(self) -> Path:
        """The journal, SQLite."""
        return self._bisection.journal_path

    @property
    def report_path(self) -> Path:
        """The report, one HTML page."""
        return self._bisection.output / "report.html"

    @property
    def log_path(self) -> Path:
        """The log, in the form of a syzbot bisection log."""
        return self._bisection.output / "bisection.log"

    def log(self) -> str:
        """Return the text of the log."""
        from kbench.bisection.report import bisection_log

        return bisection_log(self._bisection, self.view)

    def git_log(self) -> str:
        """Return its verdicts as a file that `git bisect replay` takes."""
        from kbench.exchange.gitlog import git_log

        history = self._bisection.plan.history
        places = {commit: index for index, commit in enumerate(map(str, history.commits))}

        def is_ancestor(older: str, newer: str) -> bool:
            return older in places and newer in places and history.is_ancestor(places[older], places[newer])

        return git_log(self.view, is_ancestor)

    def mail(self) -> EmailMessage:
        """Return it as a mail to those who should know; `bytes` of it can be sent."""
        from kbench.exchange.mail import mail_report

        return mail_report(self.view, reproduce=(self._bisection.plan.reproducer or b"").decode("utf-8", "replace"))

    def pack(self, file: Path | str) -> Path:
        """Write it into one file, for `kbench unpack` on another machine."""
        from kbench.exchange.archive import pack

        return pack(self._bisection, self.view, self.log(), Path(file))

    def plot(self, what: str = "search", *, width_in: float = 7.0) -> Axes:
        """Draw "search", "rates" or "costs" for a paper; see `kbench.widgets.figures.plot`."""
        from kbench.widgets.figures import plot

        return plot(self.view, what, width_in=width_in)

    def write(self) -> None:
        """Write log, result and report into the case directory."""
        from kbench.widgets.page import html_report

        log = self.log()
        files = {self.log_path: log, self.report_path: html_report(self.view, log_text=log, facts=self._facts())}
        if self.result:
            files[self._bisection.output / "result.json"] = json.dumps(self.result.to_json(), indent=2) + "\n"
        with storage("report", self._bisection.output):
            for path, content in files.items():
                aside = path.with_name(f".{path.name}.{os.getpid()}")
                aside.write_text(content, encoding="utf-8")
                aside.replace(path)

    def _facts(self) -> dict[str, str]:
        case, compilers = self._bisection.case, {step.compiler for step in self.view.steps if step.compiler}
        return {
            "repository": case.repository,
            "reproducer": case.reproducer,
            "compiler": ", ".join(sorted(compilers)),
            "machine": " ".join(self._bisection.plan.target.machine.argv),
        }

    def __repr__(self) -> str:
        result = self.result
        if result is None:
            return f"<not ended: {len(self.view.steps)} revisions so far>"
        answer = f"{result.culprit[:12]} {result.culprit_subject}" if result.culprit else f"{result.n_candidates} candidates"
        searched = f"{result.n_commits} commits" + ("" if result.n_kernels is None else f", {result.n_kernels} kernels")
        cost = f"{result.builds} builds, {result.runs} runs, {result.seconds:.0f} s"
        proof = f"; {result.proof}, p {result.proof_p:.2g}" if result.proof_p is not None else ""
        return f"<{result.outcome}: {answer}; {searched}; {cost}{proof}>"

    def _repr_html_(self) -> str:
        from kbench.widgets.page import summary_html

        return summary_html(self.view)


def bisect(
    case: Path | str,
    *,
    output: Path | str | None = None,
    jobs: int | None = None,
    on_change: Callable[[Bisection], None] | None = None,
    executor: Any = None,
    **overrides: Any,
) -> BisectionReport:
    """Bisect a case to its end, or go on where its journal stands; live in a notebook, with a progress bar in a terminal.

    Parameters
    ----------
    case : path
        The case file, or its folder.
    output : path, optional
        Folder for journal, consoles, log and report; by default beside the case file.
    jobs : int, optional
        Machines and compiler jobs at once; the number of usable cores by default.
    on_change : callable, optional
        Called with the running `Bisection` after every change.
    executor : str, or a cluster or client of Dask, optional
        Where builds and runs happen: "local", "dask" (the case's `scheduler` says where), or the cluster itself; the case's own
        by default.
    **overrides
        Keys of the case, e.g. `strategy="git"`.

    Raises
    ------
    InputError
        Something in the case is wrong; nothing was written.
    JournalError, StorageError, MachineLacksError
        See `kbench.errors`.
    """
    from kbench.widgets.live import LiveView

    listeners = [on_change] if on_change else []
    named = executor is None or isinstance(executor, str)

    def tell_all(now: Bisection) -> None:
        for listener in listeners:
            listener(now)

    bisection = Bisection(
        load_case(case, executor=executor if named else "dask", **overrides),
        output=Path(output) if output else None,
        jobs=jobs,
        on_change=tell_all,
        cluster=None if named else executor,
    )
    threading.Thread(target=_load_ahead, args=(bisection.plan.target.machine,), daemon=True).start()
    live = LiveView(view(bisection))
    if live.shown:
        listeners.append(lambda now: live.update(view(now)))
    with Progress(f"bisecting {bisection.case.name}", enabled=not live.shown) as progress:
        listeners.append(lambda now: progress.show(_headline(now)))
        bisection.run()
    report = BisectionReport(bisection)
    live.update(report.view)
    report.write()
    return report


def report(case: Path | str, *, output: Path | str | None = None, **overrides: Any) -> BisectionReport:
    """Read a bisection back from its journal, ended or not, and write its log and report again; nothing is built or run.

    Parameters
    ----------
    case, output, **overrides
        As given to `bisect`.

    Raises
    ------
    JournalError
        There is no journal of this case.
    """
    bisection = Bisection(load_case(case, **overrides), output=Path(output) if output else None)
    bisection.read()
    found = BisectionReport(bisection)
    found.write()
    return found


def _load_ahead(machine: MachineSpec) -> None:
    """Get ready, while the first kernel is compiled, what will be needed after it: it takes some seconds the first time."""
    from kbench.machines import accelerator

    with contextlib.suppress(KbenchError):  # the bisection meets it too, and says it in one line
        accelerator(machine)
    for name in ("kbench.runs", "elftools.elf.elffile", "kbench.bisection.report", "scipy.stats"):
        import_module(name)


def _headline(bisection: Bisection) -> str:
    if not bisection.steps:
        return ""
    step = bisection.steps[-1]
    left = next((s.candidates_left for s in reversed(bisection.steps) if s.candidates_left is not None), None)
    of = "candidates" if bisection.search.n_kernels is None else "kernels"
    done = f"run {len(step.runs)} of {step.planned_runs}" if step.signature else "building"
    return f"{step.stage} {step.commit[:12]}: {done}" + (f", {left} {of} left" if left is not None else "")


def _shipped(name: Path | str) -> Path | str:
    return name if Path(name).exists() else shipped_config(str(name)) or name


def _text(path: Path | str, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"kbench: expected a {what} at {path}, {(error.strerror or str(error)).lower()}; check the path"
        ) from error


__all__ = ["BisectionReport", "bisect", "boot", "build", "report", "repro"]
