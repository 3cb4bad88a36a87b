"""Searches that ask one question at a time and reduce each answer to good, bad or skip. Read `Stepwise` first.

Shared by the strategies "git" and "syzkaller": checking the ends, walking back over releases, the range, the end.
What differs between the two is a verdict rule, run counts, which ends are asked for, and a confidence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kbench.evidence import Observation, VerdictRule, decide
from kbench.history import Mask
from kbench.records import Verdict
from kbench.search.midpoint import midpoint
from kbench.search.question import Experiment, Question, SearchOutcome, SearchResult

MAX_TRIES = 3  # a commit whose runs could not be carried out so often is skipped


@dataclass(frozen=True, slots=True)
class Next:
    """Either a commit to ask for at some stage, or the outcome."""

    commit: int | None = None
    stage: str = ""
    outcome: SearchOutcome | None = None


class Stepwise:
    """One question at a time over the range good..bad.

    Told skips are never asked again. A commit is asked for again, twice at most, when its runs could not be carried out.
    """

    rule: ClassVar[VerdictRule]
    checks_ends: ClassVar[bool]  # asks for the ends itself; else it only listens

    def __init__(self, question: Question) -> None:
        self.question = question
        self._told: dict[int, Observation] = {}  # summed, in order of the first telling
        self._tries: Counter[int] = Counter()
        self._searched: set[int] = set()  # told of while the search, not the walk, went on, and candidates then
        self._verdicts: dict[int, Verdict] = {}
        self.assumed: list[tuple[int, Mask]] = []  # fix bisection: older than the bug, counted as crashing without a test
        self._ancestors: dict[int, Mask] = {}
        self._words = (Verdict.GOOD, Verdict.BAD) if question.fix else (Verdict.BAD, Verdict.GOOD)  # git's bad and good
        self._whole = self._between([question.bad], list(question.good))
        self._next = self._decide()

    # The strategy's interface.

    def ask(self, width: int) -> list[Experiment]:
        """Return the one next experiment, however wide; [] when finished."""
        commit = self._next.commit
        return [] if commit is None or width < 1 else [Experiment(commit, self.runs(commit))]

    def tell(self, observation: Observation) -> None:
        """Add the runs up and think again."""
        commit = observation.commit
        before = self._told.get(commit)
        self._told[commit] = before.merged(observation) if before else observation
        self._tries[commit] += 1
        if self._next.stage == "bisect" and self.remaining[commit]:
            self._searched.add(commit)
        self._verdicts = self._judge()
        self._next = self._decide()

    def verdict(self, commit: int) -> Verdict | None:
        return self._verdicts.get(commit)

    @property
    def stage(self) -> str:
        return self._next.stage

    @property
    def remaining(self) -> Mask:
        bads, goods = self._marked()
        return self._between(bads, goods)

    @property
    def result(self) -> SearchResult:
        outcome = self._next.outcome
        left = np.flatnonzero(self.remaining)
        if not len(left):  # the verdicts contradict each other: nothing is known but the ends
            left = np.flatnonzero(self._whole)
        confidence = self.confidence() if outcome else 0.0
        if outcome == "culprit":
            culprit = int(left[0])
            return SearchResult(culprit, confidence, ((culprit, confidence),), outcome)
        candidates = tuple((commit, 1 / len(left)) for commit in left[::-1].tolist())
        return SearchResult(None, confidence, candidates, outcome)

    # What a strategy decides for itself.

    def runs(self, commit: int) -> int:
        """How many runs to ask for."""
        raise NotImplementedError

    def confidence(self) -> float:
        """P(the outcome is right)."""
        raise NotImplementedError

    def _judge(self) -> dict[int, Verdict]:
        # Verdicts of all commits told of.
        raise NotImplementedError

    # What all share.

    def _decide_one(self, seen: Observation, *, flaky: bool = False) -> Verdict | None:
        titles = {title for end in self.question.crashing if end in self._told for title in self._told[end].crashes}
        verdict = decide(seen, self.rule, titles=titles, flaky=flaky)
        return Verdict.SKIP if verdict is None and self._tries[seen.commit] >= MAX_TRIES else verdict

    def _marked(self) -> tuple[list[int], list[int]]:
        # Commits that are bad and good in git's words, the ends first. A bad commit outside of the range, such as a merge
        # base below it, says nothing about where in the range the change is.
        bad, good = self._words
        ends = self.question.bad, *self.question.good
        told = {commit: verdict for commit, verdict in self._verdicts.items() if commit not in ends}
        bads = [self.question.bad] + [commit for commit, verdict in told.items() if verdict is bad and self._whole[commit]]
        goods = list(self.question.good) + [commit for commit, verdict in told.items() if verdict is good]
        return bads, goods + [commit for commit, _ in self.assumed]

    def _contained(self, commit: int) -> Mask:
        if commit not in self._ancestors:
            self._ancestors[commit] = self.question.history.ancestors(commit)
        return self._ancestors[commit]

    def _between(self, bads: list[int], goods: list[int]) -> Mask:
        mask = np.logical_and.reduce([self._contained(commit) for commit in bads])
        for commit in goods:
            mask &= ~self._contained(commit)
        return mask

    def _decide(self) -> Next:
        # A fix is searched from a commit with the bug on: where the tree forked it has to be there, before the head is tried.
        if self.question.fix:
            return self._check_crashing() or self._check_merge_bases() or self._check_clean() or self._bisect()
        checked = self._check_crashing() or self._check_clean()
        return checked or self._walk_releases() or self._check_merge_bases() or self._bisect()

    def _check_crashing(self) -> Next | None:
        crashing = [self._verdicts.get(end) for end in self.question.crashing]
        if any(verdict in (Verdict.GOOD, Verdict.SKIP) for verdict in crashing):
            return Next(outcome="not reproduced")
        return Next(self.question.crashing[0], "original") if self.checks_ends and crashing[0] is None else None

    def _check_clean(self) -> Next | None:
        clean = [self._verdicts.get(end) for end in self.question.clean]
        if Verdict.BAD in clean:
            return Next(outcome="not in range" if self.question.fix else "older than range")
        if self.question.fix and clean[0] is Verdict.SKIP:
            return Next(outcome="inconclusive")
        if self.question.fix and self.checks_ends and clean[0] is None:
            return Next(self.question.bad, "head")
        return None

    def _walk_releases(self) -> Next | None:
        # Back over the releases until one is good; those that cannot be tested are passed over.
        if self.question.good:
            return None
        for tag in self.question.tags:
            verdict = self._verdicts.get(tag)
            if verdict is None:
                return Next(tag, "release")
            if verdict is Verdict.GOOD:
                return None
        oldest = self._verdicts.get(self.question.tags[-1])
        return Next(outcome="older than range" if oldest is Verdict.BAD else "inconclusive")

    def _check_merge_bases(self) -> Next | None:
        # Git's care for a good end on another branch, or of another tree: what both ends grew from must be good too.
        forked = [end for end in self.question.good if not self._contained(self.question.bad)[end]]
        if not forked:
            return None
        for base in self.question.history.merge_bases(self.question.bad, self.question.good):
            if base == self.question.bad or self._verdicts.get(base) is self._words[0]:
                return Next(outcome="not in range")
            if base not in self.question.good and base not in self._verdicts:
                return Next(base, "merge base")
            if self.question.fix and self._verdicts.get(base) is Verdict.SKIP:
                return Next(outcome="inconclusive")  # no commit below the head is known to crash
        return None

    def _bisect(self) -> Next:
        history = self.question.history
        while True:
            bads, goods = self._marked()
            remaining = self._between(bads, goods)
            left = np.flatnonzero(remaining)
            if len(left) == 1:
                return Next(outcome="culprit")
            skipped = np.zeros(len(history), dtype=np.bool_)
            skipped[[commit for commit, verdict in self._verdicts.items() if verdict is Verdict.SKIP]] = True
            newest_bad = max((commit for commit in bads if remaining[commit]), default=None)
            choice = midpoint(history, remaining, skipped, newest_bad)
            if choice is None:
                return Next(outcome="inconclusive")
            question = self._before_asking(choice)
            if question is not None:
                return question
            self.assumed.append((choice, remaining))

    def _before_asking(self, commit: int) -> Next | None:
        # What to ask before, or instead of, a commit git chose; None: it counts as git's good without a test.
        return Next(commit, "bisect")
