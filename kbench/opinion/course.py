"""Where the tested revisions of a log lie, as far as a log tells. Read `course` first.

A log does not hold the commit graph. A line stands for it: one release after the other on the walk back, then halves of the
range git searched, which has as many commits as git says. Verdicts agree with that order, for a search obeys them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kbench.evidence.priors import NEWEST, RELEASE
from kbench.records import Step, Verdict
from kbench.syzbot import BisectionLog, steps


@dataclass(frozen=True, slots=True)
class Tested:
    """A tested revision and its place."""

    step: Step
    age: float  # commits between it and the original one; when a fix is searched, forwards
    depth: int  # releases walked when it was tested; 0 is the original commit
    crashing: bool | None  # what the bisection took it for; None: it could not be tested

    @property
    def of_search(self) -> bool:
        """Whether git chose it."""
        return self.step.stage == "bisect"


def course(log: BisectionLog) -> tuple[Tested, ...]:
    """Return the tested revisions of a log with their places, in order; those only built are left out."""
    return tuple(_places(log))


def _places(log: BisectionLog) -> Iterator[Tested]:
    bad = Verdict.BAD if log.kind == "cause" else Verdict.GOOD
    left = next((test.revisions_left for test in log.tests if test.revisions_left is not None), None)
    near, far, depth, searching = 0.0, 0.0, 0, False  # the last that crashed, the first that did not
    for step in steps(log):
        if step.stage in ("parent", "config"):
            continue
        if step.stage == "bisect":
            if not searching:
                far = near + (RELEASE if left is None else 2.0 * left + 1)
            searching = True
            age = (near + far) / 2
        elif step.stage == "original":
            age = 0.0
        else:
            depth += 1
            age = far = RELEASE * (depth - 1 + NEWEST)
        crashing = None if step.verdict in (None, Verdict.SKIP) else step.verdict is bad
        yield Tested(step, age, depth, crashing)
        if crashing:
            near = age
        elif crashing is False:
            far = age
