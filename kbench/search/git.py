"""The strategy "git": what a patient person with `git bisect` does. Read `GitStrategy` first."""

from __future__ import annotations

from typing import ClassVar

from kbench.evidence import GIT_RULE, VerdictRule
from kbench.records import Verdict
from kbench.search.stepwise import Stepwise


class GitStrategy(Stepwise):
    """git's midpoints, ten runs each, no doubt.

    One crash with a title of the bug is bad. It does not ask for the ends; when it is told of them it learns the titles
    of the bug, and that the bug does not reproduce.
    """

    rule: ClassVar[VerdictRule] = GIT_RULE
    checks_ends: ClassVar[bool] = False
    n_runs: ClassVar[int] = 10

    def runs(self, commit: int) -> int:
        return self.n_runs

    def confidence(self) -> float:
        """1: git takes every verdict for the truth."""
        return 1.0

    def _judge(self) -> dict[int, Verdict]:
        verdicts = {commit: self._decide_one(seen) for commit, seen in self._told.items()}
        return {commit: verdict for commit, verdict in verdicts.items() if verdict is not None}
