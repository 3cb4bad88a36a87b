"""What a bisection came to, and what its steps say. Read `BisectionResult`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kbench.bisection.control import MARKS
from kbench.crash.titles import type_of
from kbench.evidence import RepresentativeCrash, representative_crash
from kbench.records import Outcome, Run, Step, Verdict
from kbench.search import Costs, Observation

#: Runs that a person's word counts for: as many as make a good revision of a deterministic bug sure.
MARK_RUNS = 30


@dataclass(frozen=True, slots=True)
class BisectionResult:
    """What a bisection came to. `to_json` is what `--json` prints."""

    outcome: str  # "culprit", "inconclusive", "not reproduced", "older than range", "not in range", "budget spent"
    culprit: str | None  # 40 hex digits
    culprit_subject: str
    confidence: float | None  # P(the culprit is the true one); None without a culprit
    candidates: tuple[tuple[str, float], ...]  # (commit, probability), most probable first, 100 at most
    n_candidates: int
    n_commits: int  # candidates before anything was tested
    n_kernels: int | None  # kernels those make, as far as known; None: commits were not told apart
    noop: bool | None  # culprit and parent are one kernel; None: not compared
    release: str  # the newest release that does not have the bug, "" when none was walked to
    builds: int  # revisions built or tried to
    cached: int  # of those, what was there already
    runs: int  # carried out
    build_s: float
    test_s: float
    recipients: tuple[str, ...] = ()  # of a report on the guilty file, by the tree's get_maintainer.pl
    notes: tuple[str, ...] = ()  # what a reader should know before believing it
    culprit_release: str = ""  # the release tag that names the culprit: hardly ever what broke or fixed anything
    crash: str = ""  # what the culprit of a cause, or `end`, shows: the crash that stands for all, or why it cannot be tested
    end: str | None = None  # the end where it stopped without candidates: the oldest release, the newer end, a merge base
    error: str = ""  # what broke it off: machines that are lost, an oldest release that cannot be tested
    proof: str = ""  # runs in turns that show the bug: "parent 0:12, culprit 9:12, reverted 0:12"; "" without a closing proof
    proof_p: float | None = None  # P(counts so far apart | the culprit shows the bug as often as the others)

    @property
    def seconds(self) -> float:
        """Wall clock spent on builds and runs."""
        return self.build_s + self.test_s

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        values["candidates"] = [{"commit": commit, "probability": p} for commit, p in self.candidates]
        return values | {"seconds": self.seconds}


def observation(commit: int, step: Step) -> Observation:
    """Return what a tested revision says, as a search is told it."""
    counts = step.counts
    return Observation(
        commit,
        passed=counts[Outcome.OK],
        crashes=dict(step.titles),
        boot_failed=counts[Outcome.BOOT_FAILED],
        test_failed=counts[Outcome.TEST_FAILED],
        infra=counts[Outcome.INFRA],
        skip="build" if step.failure else None,
        signature=step.signature,
        reached=step.reached,
        lent=step.same_as is not None,
    )


def marked(commit: int, stage: str, title: str) -> Observation:
    """Return what a person says of a revision, as `MARK_RUNS` runs that all show it; `title` is the bug's."""
    verdict = MARKS[stage]
    return Observation(
        commit,
        passed=MARK_RUNS * (verdict is Verdict.GOOD),
        crashes={title: MARK_RUNS} if verdict is Verdict.BAD else {},
        skip="test" if verdict is Verdict.SKIP else None,
        reached=True if verdict is Verdict.GOOD else None,
    )


def costs(step: Step) -> Costs | None:
    """Return what an experiment costs on this machine, by the first one; None when it did not run, or was built before."""
    if not step.runs or step.cached or not step.build_s or not step.test_s:
        return None
    run = float(f"{step.test_s / len(step.runs):.2g}")
    return Costs(build=float(f"{step.build_s:.2g}"), run=run, ask=2 * run)


def first_crash(steps: Iterable[Step]) -> tuple[Step, Run] | None:
    """Return the first revision that crashed and a run of it that shows the bug: one with its most frequent title."""
    for step in steps:
        if step.titles:
            title = step.titles.most_common(1)[0][0]
            return step, next(run for run in step.runs if run.outcome is Outcome.CRASHED and run.title == title)
    return None


def representative(step: Step) -> RepresentativeCrash | None:
    """Return the crash that stands for all of a revision; None when no run crashed."""
    return representative_crash([(run.title, type_of(run.title)) for run in step.runs if run.outcome is Outcome.CRASHED])


def shown_by(step: Step) -> str:
    """Return what a revision shows, in a line: its representative crash, or else why it cannot be tested; "" when clean."""
    crash = representative(step)
    if crash is not None:
        return crash.title
    failed = next((run for run in step.runs if run.outcome is not Outcome.OK), None)
    return step.failure or (failed.title if failed and step.verdict is Verdict.SKIP else "")
