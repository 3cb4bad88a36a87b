"""A reproducer, N fresh machines, a `RunSet`. Read `repro` first.

A machine that broke is started again and, if it breaks thrice, is an infra problem: never a crash. What the others showed is
for `kbench.judge`.
"""

from __future__ import annotations

import asyncio
import html
import queue
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kbench.errors import HeldError, InputError, LostMachineError, ReproducerError
from kbench.flakiness import Comparison, compare
from kbench.hold import current
from kbench.host import storage, usable_cores
from kbench.judge import judge
from kbench.machines import accelerator, initramfs, machine_loop, run_machine
from kbench.machines.watch import CRASH_LINE
from kbench.records import KernelImage, Outcome, Run, count_outcomes, count_titles
from kbench.scratch import process_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kbench.flakiness import Rate

#: A machine that broke is started again so many times before its run is an infra problem.
RETRIES = 2
NEVER = r"(?!)"  # a pattern that matches nothing


@dataclass(frozen=True, slots=True)
class RunSet:
    """The runs of one reproducer on one kernel, in the order they were numbered."""

    runs: tuple[Run, ...]

    @property
    def counts(self) -> Counter[Outcome]:
        """Runs by outcome."""
        return count_outcomes(self.runs)

    @property
    def titles(self) -> Counter[str]:
        """Crashed runs by title."""
        return count_titles(self.runs)

    @property
    def rate(self) -> Rate:
        """Share of the runs that say something (OK or crashed) that crashed, with its 95% interval."""
        from kbench.flakiness import rate

        crashed = self.counts[Outcome.CRASHED]
        return rate(crashed, crashed + self.counts[Outcome.OK])

    def plot(self, what: str = "rate", *, width_in: float = 7.0) -> Axes:
        """Draw "rate" or "outcomes" for a paper; see `kbench.paper.runs.draw`."""
        from kbench.paper.runs import draw

        return draw(self.runs, what, width_in=width_in)

    def __str__(self) -> str:
        """`20 runs: 13 OK, 7 crashed: TITLE; rate 0.35 [0.18, 0.57] 95%`."""
        kinds = Counter(str(run) for run in self.runs)
        return f"{len(self.runs)} runs: " + ", ".join(f"{n} {text}" for text, n in kinds.most_common()) + f"; rate {self.rate}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{n}</td><td style='text-align:left'>{html.escape(text, quote=True)}</td></tr>"
            for text, n in Counter(str(run) for run in self.runs).most_common()
        )
        return f"<table><thead><tr><th>runs</th><th>outcome</th></tr></thead>{rows}</table><p>rate {self.rate}</p>"


def repro(
    kernel: KernelImage,
    reproducer: Path | str | None = None,
    *,
    runs: int = 10,
    jobs: int | None = None,
    consoles: Path | None = None,
    on_run: Callable[[int, Run], None] | None = None,
) -> RunSet:
    """Run a reproducer on fresh machines, as many at once as there are cores.

    Parameters
    ----------
    kernel : KernelImage
        What `kbench.build` returned.
    reproducer : path, optional
        The file handed to the kernel at boot; for Linux a C program, a shell script, a syzkaller program or a static
        executable.
    runs : int
        How many; 1 or more.
    jobs : int, optional
        How many at once; the number of usable cores by default.
    consoles : Path, optional
        Folder for the serial consoles; by default a new one that goes when this process ends.
    on_run : callable, optional
        Called as `on_run(number, run)` in this thread whenever a run has ended.

    Raises
    ------
    InputError
        `runs` below 1, no such reproducer, or one that does not compile.
    MachineLacksError
        QEMU, or what the reproducer is made with, is not there.
    """
    if runs < 1:
        raise InputError(f"repro: expected 1 run or more, got {runs}; raise runs")
    path = Path(reproducer) if reproducer is not None else None
    if path is not None and not path.is_file():
        raise ReproducerError(f"repro: expected a file at {path}, found none; give the reproducer's path")
    folder = consoles or Path(tempfile.mkdtemp(prefix="consoles-", dir=process_folder()))
    done: dict[int, Run] = {}
    for number, run in each_run(kernel, range(runs), reproducer=path, jobs=jobs, console=lambda n: folder / f"run-{n:03d}.txt"):
        done[number] = run
        if on_run:
            on_run(number, run)
    return RunSet(tuple(done[number] for number in sorted(done)))


def snapshot_effect(kernel: KernelImage, reproducer: Path | str, runs: int = 20, *, jobs: int | None = None) -> Comparison:
    """Compare the crash rate on `runs` machines that go on from a saved one with that on as many cold ones.

    Raises
    ------
    CaseError
        The target's machines cannot be saved.
    InputError, MachineLacksError
        As for `repro`; none of the runs crashed or passed.
    """
    restored = repro(with_snapshot(kernel, True), reproducer, runs=runs, jobs=jobs).rate
    cold = repro(with_snapshot(kernel, False), reproducer, runs=runs, jobs=jobs).rate
    return compare((restored.k, restored.n), (cold.k, cold.n))


def with_snapshot(kernel: KernelImage, snapshot: bool) -> KernelImage:
    """Return the kernel for machines that go on from a saved one, or for cold ones."""
    target = kernel.target
    return replace(kernel, target=replace(target, machine=replace(target.machine, snapshot=snapshot)))


def each_run(
    kernel: KernelImage,
    numbers: Sequence[int],
    *,
    reproducer: Path | None,
    console: Callable[[int], Path | None],
    jobs: int | None = None,
) -> Iterator[tuple[int, Run]]:
    """Yield (number, run) as the runs end, in the caller's thread; closing the iterator ends the machines.

    `reproducer` is the user's own file; what goes to the machines is made of it here, once. HeldError when somebody pauses or
    stops the work of this thread (`kbench.hold`): the machines are ended.
    """
    handed_in = initramfs(kernel.target, reproducer)
    finished: queue.SimpleQueue[tuple[int, Run | None] | None] = queue.SimpleQueue()  # no run: somebody holds this
    kind = accelerator(kernel.target.machine)
    gate = asyncio.Semaphore(jobs or usable_cores())

    async def one(number: int) -> None:
        async with gate:
            path = console(number)
            if path is not None:
                with storage("repro", path.parent):
                    path.parent.mkdir(parents=True, exist_ok=True)
            finished.put((number, await run_once(kernel, reproducer=handed_in, console=path, accelerator=kind)))

    async def batch() -> None:
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(one(number))

    def start() -> None:
        task = machine_loop().create_task(batch())
        task.add_done_callback(lambda _: finished.put(None))  # however it ended, and not before its machines are gone
        started.append(task)

    async def cancel() -> None:
        started[0].cancel()

    started: list[asyncio.Task[None]] = []
    machine_loop().call_soon_threadsafe(start)
    item: tuple[int, Run | None] | None = (0, None)
    hold = current()
    try:
        with hold.heard(lambda: finished.put((0, None)) if hold.interrupted else None):
            while (item := finished.get()) is not None:
                number, run = item
                if run is None:
                    raise HeldError("repro: somebody paused or stopped this; the runs that are missing can be made later")
                yield number, run
        _raise_first(started[0])
    finally:
        if item is not None:
            asyncio.run_coroutine_threadsafe(cancel(), machine_loop())
        while item is not None:
            item = finished.get()


def _raise_first(whole: asyncio.Task[None]) -> None:
    """Raise the first error of a batch as itself, not as a group."""
    try:
        whole.result()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def run_once(kernel: KernelImage, *, reproducer: Path | None, console: Path | None, accelerator: str) -> Run:
    """Run the reproducer, as `initramfs` made it, once on a fresh machine."""
    spec = kernel.target.machine
    lost: LostMachineError | None = None
    for _ in range(1 + RETRIES):
        try:
            shown = await run_machine(
                spec,
                kernel,
                reproducer=reproducer,
                console=console,
                accelerator=accelerator,
                crash_pattern=CRASH_LINE if spec.linux_crashes else NEVER,
            )
        except LostMachineError as error:
            lost = error
            continue
        outcome, title = judge(shown, spec)
        return Run(outcome, title, shown.boot_s or 0.0, shown.elapsed_s, console)
    return Run(Outcome.INFRA, str(lost), 0.0, 0.0, console)
