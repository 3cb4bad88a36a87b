"""What a bisection leaves as text: the log, in the form of a syzbot bisection log. Read `bisection_log`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from email.utils import parseaddr
from itertools import pairwise
from typing import Any

import numpy as np

from kbench import syzbot
from kbench.bisection.control import BY_HAND
from kbench.bisection.driver import Bisection
from kbench.bisection.result import first_crash, representative
from kbench.records import BisectionView, Verdict


def bisection_log(bisection: Bisection, view: BisectionView) -> str:
    """Return the log of a bisection, ended or not, in the form syzkaller prints since 2024."""
    plan, result = bisection.plan, bisection.result
    crash = first_crash(bisection.steps)
    culprit = (result.culprit, result.culprit_subject) if result and result.culprit else None
    end = result.end if result else None
    signatures = {step.commit: step.signature or "" for step in bisection.steps}
    log = syzbot.compose(
        kind=view.kind,
        start=plan.hash(plan.original),
        host="kbench",
        started=_go_time(bisection.started),
        rewritten=plan.rewritten,
        head=plan.hash(plan.bad) if plan.fix else "",
        tests=list(_tests(bisection)),
        release_tags=[name for name, _ in plan.tags],
        n_release_tags=plan.n_tags,
        ends=_ends(bisection),
        culprit=culprit,
        culprit_text=view.culprit_text,
        candidates=[commit for commit, _ in view.candidates] if view.outcome == "inconclusive" and not end else (),
        error_probability=1 - result.confidence if result and result.culprit and result.confidence is not None else None,
        culprit_signature=signatures.get(culprit[0], "") if culprit else "",
        parent_signature=signatures.get(bisection.parent or "", "") if culprit else "",
        total_s=view.build_s + view.test_s,
        build_s=view.build_s,
        test_s=view.test_s,
        outcome=view.outcome or "",
        error=result.error if result else "",
        message=bisection.repository.subject(end) if end else "",
        recipients=_recipients(bisection.repository.recipients(culprit[0]), view.recipients) if culprit else None,
        crash_title=crash[1].title if crash else "",
        report=view.crash_report,
    )
    return syzbot.render(log)


def _tests(bisection: Bisection) -> Iterator[syzbot.Test]:
    """Yield the log's test of every step; revisions left are those before it, as git prints them."""
    history = bisection.plan.history
    kind = bisection.case.kind
    for index, (before, step) in enumerate(pairwise([None, *bisection.steps])):
        assert step is not None  # only the first is
        if step.stage.startswith("proof ") or step.stage in BY_HAND:  # these logs know neither
            continue
        left = steps_left = None
        if step.stage == "bisect" and before is not None and before.candidates_left and step.position is not None:
            candidates = np.zeros(len(history), dtype=np.bool_)
            for first, last in before.spans:
                candidates[first : last + 1] = True
            left = before.candidates_left - int((candidates & history.ancestors(step.position)).sum()) - 1
            steps_left = syzbot.git_steps(before.candidates_left)
        crashes = representative(step)
        yield syzbot.tested(
            step.commit,
            step.stage,
            step.runs,
            fold=True,
            subject=step.subject,
            verdict=_git_verdict(step.verdict, kind) if step.stage == "bisect" else None,
            toolchain="clang" if "clang" in step.compiler else "gcc",
            compiler=step.compiler,
            signature=step.signature or "",
            failure=step.failure,
            representative=crashes.title if crashes else "",
            types=tuple(name or "UNKNOWN" for name in crashes.types) if crashes else (),
            revisions_left=left,
            steps_left=steps_left,
            **_question(bisection, index),
        )


def _question(bisection: Bisection, index: int) -> dict[str, Any]:
    """Return whether a step of a fix bisection was asked first if it has the bug, and what said so; fields of `Test`."""
    plan, steps = bisection.plan, bisection.steps
    step = steps[index]
    if not (plan.fix and plan.case.strategy == "syzkaller" and step.stage == "bisect") or step.position is None:
        return {}
    before = index
    while steps[before - 1].stage == "merge base":  # tested in answer to that question
        before -= 1
    contained = plan.history.ancestors(step.position)
    crashed = (s for s in steps[:before] if s.titles and s.verdict is Verdict.BAD and s.position is not None)
    contains = next((s.commit for s in crashed if contained[s.position]), "")
    bases = () if contains else plan.history.merge_bases(step.position, [plan.original])
    return {
        "asked": True,
        "contains": contains,
        "merge_bases": tuple(map(plan.hash, bases)),
        "assumed": not step.planned_runs,
    }


def _git_verdict(verdict: Verdict | None, kind: str) -> Verdict | None:
    """Return what git is told: in a fix bisection a revision that crashes is git's good."""
    return verdict if verdict in (None, Verdict.SKIP) else syzbot.git_verdict(kind, crashed=verdict is Verdict.BAD)


def _ends(bisection: Bisection) -> tuple[str, str] | None:
    """Return the (bad, good) ends the search started from, None when it did not come to that."""
    if not any(step.stage == "bisect" for step in bisection.steps):
        return None
    plan = bisection.plan
    bad, good = plan.hash(plan.bad), [plan.hash(end) for end in plan.bases or plan.good]
    for step in bisection.steps:
        if step.stage.startswith("release "):
            if step.verdict is Verdict.BAD:
                bad = step.commit
            elif step.verdict is Verdict.GOOD:
                good = [step.commit]
    return (bad, good[0]) if good else None


def _recipients(people: tuple[str, ...], maintainers: tuple[str, ...]) -> list[str]:
    """Return the addresses of who made the commit, then of who looks after the file that crashes, each once."""
    once: dict[str, str] = {}
    for address in (*people, *(parseaddr(name)[1] for name in maintainers)):
        if address:
            once.setdefault(address.lower(), address)
    return list(once.values())


def _go_time(started: str) -> str:
    """Return an ISO time as Go prints it."""
    if not started:
        return ""
    return datetime.datetime.fromisoformat(started).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
