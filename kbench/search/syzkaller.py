"""The strategy "syzkaller": the procedure of syzbot, its run counts, verdicts and confidence. Read `SyzkallerStrategy` first."""

from __future__ import annotations

from typing import ClassVar

from kbench.evidence import SYZKALLER_RULE, VerdictRule
from kbench.records import Verdict
from kbench.search.question import Question
from kbench.search.stepwise import Next, Stepwise


class SyzkallerStrategy(Stepwise):
    """syzbot's bisection: ends first, releases, then git's midpoints (rules of 2024-12-02).

    20 runs of the commit the bug was found on, 10 of every other, 20 once a bad verdict rested on fewer than half of its
    runs (the bug is flaky). Before a step of a fix bisection it makes sure that the bug was there already: a commit that
    contains no commit seen crashing is tested only if a merge base of it and the older end crashes, and else counts as
    still crashing. A merge base outside of the history is not known, and the commit is tested. An older end of another tree
    has its merge base with the newer end tested before that.
    """

    rule: ClassVar[VerdictRule] = SYZKALLER_RULE
    checks_ends: ClassVar[bool] = True
    n_runs_first: ClassVar[int] = 20
    n_runs: ClassVar[int] = 10
    n_runs_flaky: ClassVar[int] = 20

    def __init__(self, question: Question) -> None:
        self._flaky = False
        self._confidence = 1.0
        super().__init__(question)

    def runs(self, commit: int) -> int:
        first = commit == self.question.crashing[0]
        return self.n_runs_first if first else self.n_runs_flaky if self._flaky else self.n_runs

    def confidence(self) -> float:
        """P(no good verdict of the search was bad luck), the product of 1 - (1 - p)^clean over them.

        p is the share of crashes in the first test, lowered after each bad verdict of the search to min(p, (p + share) / 2).
        """
        return self._confidence

    def _judge(self) -> dict[int, Verdict]:
        first = self._told.get(self.question.crashing[0])
        share_first = first.share if first else None
        p_crash = 1.0 if share_first is None else share_first
        verdicts: dict[int, Verdict] = {}
        self._flaky, self._confidence = False, 1.0
        for commit, seen in self._told.items():
            verdict = self._decide_one(seen, flaky=self._flaky)
            if verdict is None:
                continue
            verdicts[commit] = verdict
            searched = commit in self._searched
            if verdict is Verdict.BAD and seen.share is not None:
                self._flaky = self._flaky or seen.share < 0.5
                p_crash = min(p_crash, (p_crash + seen.share) / 2) if searched else p_crash
            elif verdict is Verdict.GOOD and searched:
                self._confidence *= 1 - (1 - p_crash) ** seen.passed
        return verdicts

    def _before_asking(self, commit: int) -> Next | None:
        crashed = [c for c, verdict in self._verdicts.items() if verdict is Verdict.BAD]
        if not self.question.fix or self._contained(commit)[crashed].any():
            return Next(commit, "bisect")
        bases = self.question.history.merge_bases(commit, self.question.crashing[:1])
        for base in bases:
            if base not in self._verdicts:
                return Next(base, "merge base")
        # A base with the bug is an ancestor of the commit, so none of these crashed.
        return None if bases else Next(commit, "bisect")
