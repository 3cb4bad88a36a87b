"""The strategy "bayes": weigh all evidence, spend where it pays, say how sure it is. Read `BayesStrategy` first."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

import numpy as np

from kbench.evidence import Observation, Priors
from kbench.history import Mask
from kbench.records import Verdict
from kbench.search.belief import Belief, Range
from kbench.search.choice import Chooser
from kbench.search.question import Experiment, Question, SearchOutcome, SearchResult

MAX_TRIES = 3  # a commit whose runs could not be carried out so often is not asked for again
N_RUNS_END = 10  # of a given end that may be clean, or shows the bug in some of its runs only
SHARE_OF_TITLE = 0.25  # a title of the ends that shows less often, against the most frequent, is not sure to be the bug's
N_RUNS_RATE = 6  # of an end that shows the bug in all, or of one revision that shows it, before the rate is believed
P_NAMED = 0.8  # a commit below is not named as the culprit, however many others are excluded
P_SEEN = 0.7  # an end counts as seen to have the bug
TOO_LONG = 100  # a set of more commits is no answer: the most likely of them are, so many, if they hold so much of the belief
N_LISTED, P_LISTED = 10, 0.55
P_ALL = 0.999  # candidates are those that hold so much while the search goes on


class BayesStrategy:
    """The posterior over commits, and over "older than the range" and "no bug here"; the next experiment by bits a second.

    Range, rates, titles and silence: see `kbench.search.belief` and `kbench.evidence.weigh`. It does not ask for the ends;
    what it is told of them teaches it the rate and the titles. It ends when the decision is certain, or when nothing that can
    be run would tell anything. An inconclusive answer is the set that holds the culprit as surely as was asked for, or the ten
    most likely commits where that set is too long for anybody to look at and they hold much of the belief.
    """

    def __init__(self, question: Question, priors: Priors | None = None) -> None:
        self.question = question
        self.priors = priors or Priors.default()
        self._range = Range(question, self.priors)
        self._chooser = Chooser(self._range, self.priors)
        self._told: dict[int, Observation] = {}
        self._tries: Counter[int] = Counter()
        self._forget()

    def ask(self, width: int) -> list[Experiment]:
        """Return up to `width` experiments that are useful together; [] when finished."""
        if width < 1 or self._outcome is not None:
            return []
        return self._best if width == 1 else self._choose(width)

    def tell(self, observation: Observation) -> None:
        """Take in what was seen."""
        before = self._told.get(observation.commit)
        self._told[observation.commit] = before.merged(observation) if before else observation
        self._tries[observation.commit] += 1
        self._forget()

    def verdict(self, commit: int) -> Verdict | None:
        """The more likely of good and bad, once something was told; SKIP when that says nothing."""
        seen = self._told.get(commit)
        if seen is not None and seen.lent:
            same = (other for other, one in self._told.items() if one.signature == seen.signature and not one.lent)
            return next((self.verdict(other) for other in same), Verdict.SKIP)
        if seen is None or (seen.total == seen.infra and seen.skip is None):
            return Verdict.SKIP if seen is not None and self._tries[commit] >= MAX_TRIES else None
        if seen.skip is not None or not self._ran(commit) or (seen.reached is False and not seen.crashed):
            return Verdict.SKIP
        return Verdict.BAD if self._belief.buggy.get(commit, 0.0) >= 0.5 else Verdict.GOOD

    def runs(self, commit: int) -> int:
        """How many runs of an end: enough to know the rate, or that it is clean; more are asked for if not all are alike."""
        return N_RUNS_RATE if commit in self.question.crashing else N_RUNS_END

    @property
    def stage(self) -> str:
        if self._outcome is not None:
            return ""
        commit = self._best[0].commit
        if commit in self._range.ends and not self._range.walks:
            return "merge base" if self._range.forked and commit not in self.question.good else "end"
        return "release" if self._range.walks and commit in self.question.tags else "bisect"

    @property
    def remaining(self) -> Mask:
        """The smallest set of commits that holds P_ALL of the belief in commits."""
        mask = np.zeros(len(self.question.history), dtype=np.bool_)
        mask[self._range.commits[self._held(P_ALL)]] = True
        return mask

    @property
    def result(self) -> SearchResult:
        belief, outcome = self._belief, self._outcome
        held = self._held(P_ALL if outcome is None else max(self.question.confidence, 0.95))
        if outcome == "inconclusive" and len(held) > TOO_LONG and belief.culprit[held[:N_LISTED]].sum() >= P_LISTED:
            held = held[:N_LISTED]
        candidates = tuple(zip(self._range.commits[held].tolist(), belief.culprit[held].tolist(), strict=True))
        p_of = {
            "culprit": candidates[0][1] if candidates else 0.0,
            "inconclusive": sum(p for _, p in candidates),
            "not reproduced": belief.nowhere,
            "older than range": belief.everywhere,
            "not in range": belief.everywhere,
        }
        culprit = candidates[0][0] if outcome == "culprit" else None
        return SearchResult(culprit, min(p_of[outcome], 1.0) if outcome else 0.0, candidates, outcome)

    # Everything below follows from what was told, and is worked out when it is wanted.

    def _forget(self) -> None:
        for name in ("_belief", "_best", "_outcome", "_titles"):
            self.__dict__.pop(name, None)

    @cached_property
    def _belief(self) -> Belief:
        return self._range.belief(self._told, frozenset(self.question.crashing), self._titles)

    @cached_property
    def _titles(self) -> frozenset[str]:
        # What shows now and then where the bug was found may as well be another bug.
        counts = Counter[str]()
        for end in self.question.crashing:
            counts.update(self._told[end].crashes if end in self._told else {})
        most = max(counts.values(), default=0)
        return frozenset(title for title, count in counts.items() if title and count >= SHARE_OF_TITLE * most)

    @cached_property
    def _outcome(self) -> SearchOutcome | None:
        belief, enough = self._belief, self.question.confidence
        whole: SearchOutcome = "not in range" if self.question.fix or self._range.forked else "older than range"
        if belief.nowhere >= enough:
            return "not reproduced"
        if belief.everywhere >= enough and self._seen_at_an_end:
            return whole
        best = int(np.argmax(belief.shows))
        certain = belief.shows[best] >= enough
        if not certain and self._best:
            return None
        if belief.culprit[best] >= P_NAMED:
            return "culprit"
        return "inconclusive"

    @property
    def _seen_at_an_end(self) -> bool:
        # Whether the bug was seen where it must not be: that no commit of the range is left is not enough to say so.
        ends = (self.question.bad,) if self.question.fix else self._range.ends
        return any(end in self._told and self._told[end].crashed and self._belief.buggy[end] >= P_SEEN for end in ends)

    def _held(self, share: float) -> np.ndarray:
        # Places of the most likely culprits that hold a share of the belief in commits; newest first where equal.
        p = self._belief.culprit
        order = np.lexsort((-self._range.commits, -p))
        total = np.cumsum(p[order])
        return order[: int(np.searchsorted(total, share * total[-1])) + 1]

    @cached_property
    def _best(self) -> list[Experiment]:
        return self._choose(1)

    def _choose(self, width: int) -> list[Experiment]:
        first = self._learn_rate()
        return first + (self._choose_by_worth(width - len(first)) if width > len(first) else [])

    def _learn_rate(self) -> list[Experiment]:
        # What a clean run means hangs on the rate. Runs that end with the first crash teach little of it, so the first revision
        # that shows the bug is run some more: a run costs less than a build for a wrong turn.
        shown = [seen for seen in self._told.values() if any(not self._titles or t in self._titles for t in seen.crashes)]
        most = max(shown, key=lambda seen: (seen.passed + seen.crashed, seen.commit), default=None)
        wanted = N_RUNS_END if most and most.passed and most.commit in self.question.crashing else N_RUNS_RATE
        missing = wanted - most.passed - most.crashed if most else 0
        return [Experiment(most.commit, missing)] if most and missing > 0 else []

    def _choose_by_worth(self, width: int) -> list[Experiment]:
        refused = {commit for commit, seen in self._told.items() if seen.skip is not None}
        refused |= {
            commit for commit, seen in self._told.items() if not self._ran(commit) and seen.boot_failed + seen.test_failed
        }
        refused |= {commit for commit, tries in self._tries.items() if tries >= MAX_TRIES and not self._ran(commit)}
        return self._chooser.choose(width, self._belief, self._told, self._titles, frozenset(refused))

    def _ran(self, commit: int) -> bool:
        seen = self._told[commit]
        return seen.passed + seen.crashed > 0
