"""What the views draw, as plain rows that JSON can carry. Pure; read `search_rows` and `rate_rows` first.

Every string in a row is cleaned for display and none is safe for HTML: whoever draws it escapes it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from kbench.flakiness import rate
from kbench.records import BisectionView, Outcome, Run, Step, Verdict
from kbench.text import clean_line

Row = dict[str, Any]

# One letter a run keeps rows small; the drawing code has the same table.
_LETTERS = {Outcome.OK: "o", Outcome.CRASHED: "c", Outcome.BOOT_FAILED: "b", Outcome.TEST_FAILED: "t", Outcome.INFRA: "i"}


def head_row(view: BisectionView) -> Row:
    """Return what is known of the bisection as a whole; `title` answers its question in one sentence."""
    return {
        "name": clean_line(view.name),
        "kind": view.kind,
        "strategy": clean_line(view.strategy),
        "n_commits": view.n_commits,
        "n_kernels": view.n_kernels,
        "extent": extent(view),
        "tags": [[clean_line(name, 40), position] for name, position in view.tags],
        "outcome": view.outcome,
        "culprit": view.culprit,
        "culprit_position": culprit_position(view),
        "confidence": view.confidence,
        "title": answer(view),
    }


def search_rows(view: BisectionView) -> list[Row]:
    """Return one row a tested revision, in the order of the search."""
    return [_search_row(index, step, view.culprit) for index, step in enumerate(view.steps)]


def rate_rows(view: BisectionView) -> list[Row]:
    """Return one row a revision: its crash rate and interval, over all its runs that reached the reproducer.

    A revision tested twice (`parent` after `bisect`) is one row, and runs that both steps list count once.
    """
    steps: dict[str, list[Step]] = {}
    for step in view.steps:
        steps.setdefault(step.commit, []).append(step)
    return [_rate_row(index, of_commit, view.culprit) for index, of_commit in enumerate(steps.values())]


def answer(view: BisectionView) -> str:
    """Return the answer in one sentence: the culprit, or why there is none, or how far the search is."""
    word = "commit that fixed it" if view.kind == "fix" else "first bad commit"
    sure = "" if view.confidence is None else f", {percent(view.confidence)} sure"
    if view.culprit is not None:
        subject = f" “{clean_line(view.culprit_subject)}”" if view.culprit_subject else ""
        return f"{view.culprit[:12]}{subject} is the {word}{sure}"
    if view.outcome is None:
        return f"Searching: {_progress(view)}"
    return f"{_WHY_NONE.get(view.outcome, f'No culprit: {clean_line(view.outcome)}')}{sure}"


_WHY_NONE = {
    "inconclusive": "No single culprit: the commits that are left could not be told apart",
    "not reproduced": "No culprit: the bad revision did not crash",
    "older than range": "No culprit: the bug is older than the oldest revision that can be tested",
    "not in range": "No culprit: no commit of the range changed what the kernel does",
    "budget spent": "No culprit yet: the budget is spent",
}


def percent(share: float) -> str:
    """Return a probability for reading; never rounds doubt away, and no number of runs leaves none."""
    return "> 99.9%" if share > 0.999 else f"{share * 100:.3g}%"


def proof(view: BisectionView) -> str:
    """Return the closing proof in a line, "parent 0:12, culprit 9:12, reverted 0:12, p 1.3e-05"; "" when there was none."""
    return view.proof if view.proof_p is None else f"{view.proof}, p {view.proof_p:.2g}"


def reached(step: Step) -> str:
    """Return whether a revision's clean runs got to the code that crashes, in a word; "" where nobody asked."""
    return {True: "yes", False: "no", None: "not known" if step.reach else ""}[step.reached]


def candidates(view: BisectionView) -> str:
    """Return how many candidates there were, "500 commits, 53 kernels"; "" when not known."""
    if not view.n_commits:
        return ""
    kernels = "" if view.n_kernels is None else f", {view.n_kernels} kernels"
    return f"{view.n_commits} commits{kernels}"


def n_runs(view: BisectionView) -> int:
    """Return how many runs were carried out: those of a kernel that was tested already count once."""
    return sum(len(step.runs) for step in view.steps if step.same_as is None)


def culprit_position(view: BisectionView) -> int | None:
    """Return the culprit's index in the history: its own step's, else the one position that is left; None: not known."""
    if view.culprit is None:
        return None
    own = [step.position for step in view.steps if step.commit == view.culprit and step.position is not None]
    last = next((step.spans for step in reversed(view.steps) if step.spans), ())
    return own[0] if own else last[0][0] if len(last) == 1 and last[0][0] == last[0][1] else None


def extent(view: BisectionView) -> list[int] | None:
    """Return the first and last position a picture of the history shows; None when no position is known.

    The range of the bisection and every revision tested, not the whole of a long history.
    """
    known = [step.position for step in view.steps if step.position is not None]
    known += [position for step in view.steps for span in step.spans for position in span]
    if not known:
        return None
    return [max(0, min(*known, max(known) - view.n_commits + 1)), max(*known, min(known) + 1)]


def _progress(view: BisectionView) -> str:
    tested = sum(step.verdict is not None for step in view.steps)
    left = next((step.candidates_left for step in reversed(view.steps) if step.candidates_left is not None), None)
    return f"{tested} revisions tested" + ("" if left is None else f", {left} candidates left")


def _search_row(index: int, step: Step, culprit: str | None) -> Row:
    counts = step.counts
    return {
        "index": index,
        "commit": step.commit,
        "subject": clean_line(step.subject),
        "stage": clean_line(step.stage, 60),
        "verdict": _verdict(step.verdict),
        "culprit": step.commit == culprit,
        "position": step.position,
        "left": step.candidates_left,
        "spans": [list(span) for span in step.spans],
        "outcomes": "".join(_LETTERS[run.outcome] for run in step.runs),
        "planned": max(step.planned_runs, len(step.runs)),
        "crashed": counts[Outcome.CRASHED],
        "total": counts[Outcome.CRASHED] + counts[Outcome.OK],
        "runs": [_run_row(run) for run in step.runs],
        "signature": clean_line(step.signature or "", 64),
        "build_s": round(step.build_s, 2),
        "test_s": round(step.test_s, 2),
        "cached": step.cached,
        "failure": clean_line(step.failure, 400),
        "same_as": step.same_as,
        "reached": reached(step),
        "reach": clean_line(step.reach, 400),
        "notes": [clean_line(note, 400) for note in step.notes],
    }


def _run_row(run: Run) -> Row:
    return {"text": clean_line(str(run)), "boot_s": round(run.boot_s, 2), "elapsed_s": round(run.elapsed_s, 2)}


def _rate_row(index: int, steps: list[Step], culprit: str | None) -> Row:
    runs: Counter[Run] = Counter()
    for step in steps:
        runs |= Counter(step.runs)  # the larger count of each: runs two steps share are one run
    count = Counter(run.outcome for run in runs.elements())
    crash_rate = rate(count[Outcome.CRASHED], count[Outcome.CRASHED] + count[Outcome.OK])
    decided = [step.verdict for step in steps if step.verdict is not None]
    titles = Counter(run.title for run in runs.elements() if run.outcome is Outcome.CRASHED)
    return {
        "index": index,
        "commit": steps[0].commit,
        "subject": clean_line(steps[0].subject),
        "stage": clean_line(steps[0].stage, 60),
        "verdict": _verdict(decided[-1] if decided else None),
        "culprit": steps[0].commit == culprit,
        "same_as": steps[0].same_as,
        "position": next((step.position for step in steps if step.position is not None), None),
        "runs": sum(runs.values()),
        "crashed": crash_rate.k,
        "total": crash_rate.n,
        "rate": crash_rate.estimate if crash_rate.n else None,  # JSON has no nan
        "low": crash_rate.low,
        "high": crash_rate.high,
        "text": str(crash_rate) if crash_rate.n else "no run reached the reproducer",
        "titles": [[clean_line(title) or "unnamed crash", times] for title, times in titles.most_common(10)],
    }


def _verdict(verdict: Verdict | None) -> str | None:
    return None if verdict is None else verdict.value
