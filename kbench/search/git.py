"""The strategy "git": what a patient person with `git bisect` does. Read `GitStrategy` first."""

from __future__ import annotations

import math
from typing import ClassVar

from kbench.evidence import GIT_RULE, VerdictRule
from kbench.records import Verdict
from kbench.search.stepwise import Stepwise


class GitStrategy(Stepwise):
    """git's midpoints, ten runs each.

    One crash with a title of the bug is bad. It does not ask for the ends; when it is told of them it learns the titles
    of the bug, and that the bug does not reproduce.
    """

    rule: ClassVar[VerdictRule] = GIT_RULE
    checks_ends: ClassVar[bool] = False
    n_runs_first: ClassVar[int] = 20
    n_runs: ClassVar[int] = 10

    def runs(self, commit: int) -> int:
        return self.n_runs_first if commit == self.question.crashing[0] else self.n_runs

    def confidence(self) -> float:
        """P(no good verdict was bad luck), from the share of crashes on the bad end; git itself doubts nothing.

        The product of 1 - (1 - p)^clean over the good ones, as for "syzkaller"; 1 when nothing was told of the bad end.
        """
        first = self._told.get(self.question.crashing[0])
        p_crash = 1.0 if first is None or first.share is None else first.share
        good = (seen for commit, seen in self._told.items() if self._verdicts.get(commit) is Verdict.GOOD)
        return math.prod(1 - (1 - p_crash) ** seen.passed for seen in good)

    def _judge(self) -> dict[int, Verdict]:
        verdicts = {commit: self._decide_one(seen) for commit, seen in self._told.items()}
        return {commit: verdict for commit, verdict in verdicts.items() if verdict is not None}
