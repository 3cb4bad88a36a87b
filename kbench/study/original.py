"""The first runs of a case: its original commit, built and run here. One effect: what a laboratory does. Read `run_original`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbench.bisection import Bisection, Case
from kbench.bisection.laboratory import LocalLaboratory
from kbench.errors import InputError, KbenchError
from kbench.flakiness import Comparison, compare
from kbench.progress import Progress
from kbench.records import KernelImage, Outcome, Run, count_outcomes, count_titles
from kbench.runs import with_snapshot
from kbench.search import Costs, Observation


@dataclass(frozen=True, slots=True)
class Original:
    """What the original commit showed, and the range it is the end of."""

    commit: str  # 40 hex digits
    runs: tuple[Run, ...]
    costs: Costs  # on this machine
    build_measured: bool  # false: the kernel was there already, and `costs` has a usual build
    candidates: int  # kernels the range can make, as far as the files of this one tell; else its commits
    releases: int  # to walk back over; 0: a good end is given
    snapshot_effect: Comparison | None = None  # of a case with `snapshot`: its rate less that of as many cold machines

    @property
    def seen(self) -> tuple[int, int]:
        """Runs that crashed, and runs that tell something."""
        return _seen(self.runs)


def run_original(case: Case, *, runs: int = 20) -> Original:
    """Build a case's original commit, run its reproducer on it, and measure both.

    The kernel lands in the store: a bisection of the case does not build it again. Nothing is written beside the case. The
    original commit of a fix bisection is its older end; its range is planned like that of a cause.

    Raises
    ------
    InputError
        Something in the case is wrong, or `runs` is below 1.
    BuildError
        The commit does not build.
    KbenchError
        No run said anything: none booted, or machines broke.
    """
    if runs < 1:
        raise InputError(f"preflight: expected 1 run or more, got {runs}; raise runs")
    bisection = Bisection(case)
    plan = bisection.plan
    laboratory = LocalLaboratory(
        bisection.repository,
        plan.target,
        config=None if plan.config is None else plan.config.decode(errors="replace"),
        reproducer=case.path(case.reproducer) if case.reproducer else None,
    )
    commit = plan.hash(plan.original)
    try:
        laboratory.check()
        with Progress(f"building {commit[:12]}"):
            kernel = laboratory.build(commit)
        with Progress("running the reproducer", total=runs) as progress:
            shown = _run(laboratory, kernel, runs, progress.step)
        cold = None
        if plan.target.machine.snapshot:
            with Progress("running it on cold machines", total=runs) as progress:
                cold = _run(laboratory, with_snapshot(kernel, False), runs, progress.step)
    finally:
        laboratory.close()
    counts, telling = count_outcomes(shown), [run for run in shown if run.outcome in (Outcome.OK, Outcome.CRASHED)]
    if not telling:
        raise KbenchError(
            f"preflight: expected runs that crash or end, all of {runs} were others, e.g. {shown[0]}; see `kbench repro`"
        )
    bisection.search.learn(kernel.files)
    bisection.search.tell(Observation(plan.original, passed=counts[Outcome.OK], crashes=dict(count_titles(shown))))
    costs = Costs(
        build=kernel.build_s or Costs().build,
        run=sum(run.elapsed_s for run in telling) / len(telling),
        width=laboratory.width,
    )
    return Original(
        commit,
        tuple(shown),
        costs,
        not kernel.cached,
        bisection.search.n_kernels or plan.n_candidates,
        0 if plan.good or plan.fix else len(plan.tags),
        None if cold is None else compare(_seen(shown), _seen(cold)),
    )


def _seen(runs: Sequence[Run]) -> tuple[int, int]:
    counts = count_outcomes(runs)
    return counts[Outcome.CRASHED], counts[Outcome.CRASHED] + counts[Outcome.OK]


def _run(laboratory: LocalLaboratory, kernel: KernelImage, runs: int, on_run: Callable[[], None]) -> list[Run]:
    shown = []
    with tempfile.TemporaryDirectory(prefix="kbench-consoles-") as consoles:
        for _, run in laboratory.run(kernel, range(runs), lambda number: Path(consoles) / f"run-{number:03d}.txt"):
            shown.append(run)
            on_run()
    return shown
