"""The state of a bisection as a `BisectionView`: what every table, plot, widget and page is drawn from."""

from __future__ import annotations

from dataclasses import replace

from kbench.bisection.driver import Bisection
from kbench.bisection.result import first_crash
from kbench.records import BisectionView


def view(bisection: Bisection) -> BisectionView:
    """Return what there is to see of a bisection now, running or ended."""
    plan, result = bisection.plan, bisection.result
    seen = BisectionView(
        name=bisection.case.name,
        kind=bisection.case.kind,
        strategy=bisection.case.strategy,
        n_commits=bisection.search.n_commits,
        n_kernels=bisection.search.n_kernels,
        steps=tuple(bisection.steps),
        tags=tuple((name, index) for name, index in plan.tags),
        build_s=sum(step.build_s for step in bisection.steps),
        test_s=sum(step.test_s for step in bisection.steps),
    )
    if result is None:
        return seen
    return replace(
        seen,
        outcome=result.outcome,
        culprit=result.culprit,
        culprit_subject=result.culprit_subject,
        culprit_text=bisection.repository.describe(result.culprit) if result.culprit else "",
        confidence=result.confidence,
        candidates=result.candidates,
        noop=result.noop,
        crash_report=crash_report(bisection),
        recipients=result.recipients,
        proof=result.proof,
        proof_p=result.proof_p,
    )


def crash_report(bisection: Bisection) -> str:
    """Return the report of the crash the bisection started from, with file and line if known; "" when there is none on disk."""
    if bisection.answers.report:
        return bisection.answers.report
    shown = first_crash(bisection.steps)
    if shown is None or shown[1].console is None or not shown[1].console.is_file():
        return ""
    from kbench import crash  # late: not needed before there is one

    found = crash.parse(shown[1].console.read_text(errors="replace"))
    return found.report if found else ""
