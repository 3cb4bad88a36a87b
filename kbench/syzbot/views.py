"""A foreign log as the steps every view draws. Read `view` first.

A log does not hold the commit graph, nor times of single tests: positions, spans and the times of a step stay unknown.
"""

from __future__ import annotations

from collections import Counter

from kbench.records import BisectionView, Outcome, Step, Verdict
from kbench.syzbot.git import git_verdict
from kbench.syzbot.log import BisectionLog
from kbench.syzbot.revisions import Test

# Runs per revision since 2021-02-20: 20 of the first, 10 of the others; before, 10 of each.
_FIRST_RUNS, _RUNS = 20, 10
_ERRORS = (Outcome.BOOT_FAILED, Outcome.TEST_FAILED, Outcome.INFRA)


def steps(log: BisectionLog) -> tuple[Step, ...]:
    """The tested revisions of a log. "All runs" expands to as many as the log's other tests, or its date, say."""
    left = [*map(_candidates, log.tests[1:]), len(log.candidates) or None]
    return tuple(
        Step(
            commit=test.commit,
            subject=test.subject,
            stage=test.stage,
            verdict=test.verdict or _verdict(log.kind, test),
            runs=test.runs * n,
            planned_runs=len(test.runs) * n,
            candidates_left=n_left,
            signature=test.signature or None,
            failure=test.failure,
        )
        for test, n, n_left in zip(log.tests, _run_counts(log), left, strict=False)
    )


def view(log: BisectionLog) -> BisectionView:
    """A whole log as a view of a bisection."""
    culprit, subject = log.culprit or (None, "")
    costs, error = log.costs, log.error_probability
    confidence = None if error is None or culprit is None else 1 - error
    n = len(log.candidates)
    signatures = log.culprit_signature, log.parent_signature
    return BisectionView(
        name=log.start[:12],
        kind=log.kind,
        strategy="syzkaller",
        n_commits=next(filter(None, map(_candidates, log.tests)), 0),
        steps=steps(log),
        outcome=log.outcome,
        culprit=culprit,
        culprit_subject=subject,
        culprit_text=log.culprit_text,
        confidence=confidence,
        candidates=tuple((commit, 1 / n if confidence is None else confidence) for commit in log.candidates[:100]),
        noop=signatures[0] == signatures[1] if all(signatures) else None,
        crash_report=log.report,
        build_s=costs.build_s if costs else 0.0,
        test_s=costs.test_s if costs else 0.0,
    )


def _candidates(test: Test) -> int | None:
    # Git prints what is left in the larger half after this test; of n candidates, bad end included, it picks n / 2.
    return None if test.revisions_left is None else max(2, 2 * test.revisions_left + 1)


def _run_counts(log: BisectionLog) -> list[int]:
    # How many runs each entry of Test.runs stands for.
    later = [len(test.runs) for test in log.tests[1:] if test.runs and not test.all_runs]
    dated = next((line.form for line in log.lines if line.form in ("test with", "test", "test plain")), "test")
    first = _RUNS if dated == "test with" and max(later, default=_RUNS) <= _RUNS else _FIRST_RUNS
    usual, counts = min(later, default=_RUNS), []
    for index, test in enumerate(log.tests):
        if test.runs and not test.all_runs and index:
            usual = len(test.runs)
        counts.append((usual if index else first) if test.all_runs else 1)
    return counts


def _verdict(kind: str, test: Test) -> Verdict | None:
    # Before git is asked the log names no verdict; these are the rules of verdict, without their thresholds' history.
    if test.stage == "parent":
        return None
    counts = Counter(run.outcome for run in test.runs)
    if test.undetermined or not test.runs:
        return Verdict.SKIP
    if counts[Outcome.CRASHED]:
        return git_verdict(kind, crashed=True)
    errors = sum(counts[outcome] for outcome in _ERRORS)
    return Verdict.SKIP if 3 * errors > 2 * len(test.runs) else git_verdict(kind, crashed=False)
