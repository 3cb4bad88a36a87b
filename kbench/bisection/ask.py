"""What is asked: a search over kernels, asked and told in positions of the whole history. Read `KernelSearch` first.

Which commits make one kernel is known from the files of the kernels built so far. More builds can only tell more commits
apart; the search is then made anew on what is known and told again all that it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import reduce

import numpy as np

from kbench.bisection.plan import Plan
from kbench.evidence import SYZKALLER_RULE, decide
from kbench.evidence.priors import FloatArray
from kbench.history import Mask
from kbench.records import Verdict
from kbench.relevance import Fold, Relevance, unfolded
from kbench.search import Costs, Experiment, Observation, Search, SearchResult
from kbench.search.suspects import suspicion

MAX_COMMITS = 20_000  # of a longer range the changes are not read: it is that of a walk which has hardly begun


class KernelSearch:
    """The search of a plan. Commits that make one kernel are one question: the oldest of them is asked for.

    Parameters
    ----------
    plan : Plan
    relevance : callable, optional
        Returns the changes of the commits of a mask; called once, when the range is known. None: every commit counts.
    mentioning : callable, optional
        Returns those of a mask of commits whose change of some files is in one of some functions, or names one; called after it.
    """

    def __init__(
        self,
        plan: Plan,
        relevance: Callable[[Mask], Relevance] | None = None,
        mentioning: Callable[[Mask, Collection[str], Collection[str]], Mask] | None = None,
    ) -> None:
        self._plan, self._load, self._read_mentions = plan, relevance, mentioning
        self._n_commits = plan.n_candidates
        self._named = {plan.original, plan.bad, *plan.good, *(index for _, index in plan.tags)}
        self._told: list[Observation] = []
        self._files: set[str] | None = set()  # of all kernels; None: a build does not tell, or nobody asks
        self._relevance: Relevance | None = None
        self._range: Mask | None = None  # candidates when the range was known
        self._stale = False
        self._costs: Costs | None = None
        self._trace: tuple[frozenset[str], frozenset[str]] = frozenset(), frozenset()  # files, functions
        self._touching = self._mentioning = np.zeros(len(plan.history), dtype=np.bool_)
        self._take(unfolded(plan.history))

    @property
    def n_kernels(self) -> int | None:
        """Kernels the range can make, as far as known; None while commits are not told apart."""
        return None if self._range is None else int((self._range[self._fold.first] & self._fold.own).sum())

    @property
    def n_commits(self) -> int:
        """Commits of the range."""
        return self._n_commits if self._range is None else int(self._range.sum())

    def learn(self, files: Iterable[str] | None) -> list[str] | None:
        """Take in the files of a kernel and return those that are new; None: the build does not tell, nothing is folded."""
        if self._load is None or self._files is None or files is None:
            self._stale |= self._files is not None and self._load is not None
            self._files = None
            return None
        new = sorted(set(files) - self._files)
        self._files.update(new)
        self._stale |= bool(new)
        return new

    def ask(self, width: int = 1) -> list[Experiment]:
        """What to run next, `width` experiments at most; [] when the search is finished."""
        return [replace(experiment, commit=int(self._fold.first[experiment.commit])) for experiment in self._search.ask(width)]

    def tell(self, observation: Observation) -> None:
        """Take in what was seen of a commit that was asked for, or is an end."""
        self._told.append(observation)
        self._search.tell(self._of_kernel(observation))
        self.settle()

    def expect(self, costs: Costs | None, files: frozenset[str], functions: frozenset[str]) -> None:
        """Take in what experiments cost here, and what the crash's trace names, before the first answer is told."""
        self._costs, self._trace = costs, (files, functions)
        self._take(self._fold)

    def restart(self, observation: Observation) -> None:
        """Forget what was told: the kernels have another config from here on, and this was seen of the original commit's."""
        self._told = []
        self._take(self._fold)
        self.tell(observation)

    def settle(self) -> None:
        """Tell commits apart by all files known so far, once the range is known."""
        if self._load is None:
            return
        if self._range is None:
            if not self._files or self._search.stage != "bisect" or self.remaining.sum() > MAX_COMMITS:
                return
            self._range = self.remaining
            self._relevance = self._load(self._range)
            self._suspect(self._relevance, self._range)
        elif not self._stale:
            return
        self._stale = False
        if self._files is None or self._relevance is None:
            self._range = self._relevance = self._load = None
            self._touching = self._mentioning = np.zeros(len(self._plan.history), dtype=np.bool_)
            self._take(unfolded(self._plan.history))
            return
        keep = self._named | {seen.commit for seen in self._told}
        self._take(self._relevance.fold(self._files, keep=keep, within=self._range))

    def kernel_of(self, commit: int) -> int:
        """Return the oldest commit of the kernel a commit makes: the one that is tested."""
        return int(self._fold.first[self._fold.kernels[commit]])

    def verdict(self, commit: int) -> Verdict | None:
        """What all runs of a commit's kernel come to."""
        return self._search.verdict(self._fold.kernels[commit])

    def runs(self, commit: int) -> int:
        """How many runs the strategy wants of a commit."""
        return self._search.runs(self._fold.kernels[commit])

    def lost(self, commit: int) -> bool:
        """Whether a commit that was given up is so for want of runs that could be carried out: the machine's fault."""
        seen = [told for told in self._told if told.commit == commit]
        return self.verdict(commit) is Verdict.SKIP and decide(reduce(Observation.merged, seen), SYZKALLER_RULE) is None

    @property
    def assumed(self) -> list[tuple[int, Mask]]:
        """Commits of a fix bisection that count as crashing untested, in order, each with `remaining` before."""
        return [(int(self._fold.first[commit]), self._firsts(remaining)) for commit, remaining in self._search.assumed]

    @property
    def stage(self) -> str:
        """Of the next question."""
        return self._search.stage

    @property
    def remaining(self) -> Mask:
        """Commits that can still be the culprit: the oldest ones of their kernels; shape of the whole history."""
        return self._firsts(self._search.remaining)

    @property
    def prior(self) -> FloatArray:
        """Weight of each commit before anything ran, 0 where an older one makes the same kernel; shape of the whole history."""
        weights = np.zeros(len(self._plan.history))
        weights[self._fold.first] = self._prior()
        return weights

    @property
    def result(self) -> SearchResult:
        """What is known now."""
        found, first = self._search.result, self._fold.first
        return replace(
            found,
            culprit=None if found.culprit is None else int(first[found.culprit]),
            candidates=tuple((int(first[commit]), p) for commit, p in found.candidates),
        )

    def _firsts(self, kernels: Mask) -> Mask:
        mask = np.zeros(len(self._plan.history), dtype=np.bool_)
        mask[self._fold.first[kernels]] = True
        return mask

    def _of_kernel(self, observation: Observation) -> Observation:
        return replace(observation, commit=int(self._fold.kernels[observation.commit]))

    def _prior(self) -> FloatArray:
        first, within = self._fold.first, self._range
        inside = None if within is None else within[first]
        return suspicion(self._fold.history, self._touching[first], inside, mentioning=self._mentioning[first])

    def _suspect(self, relevance: Relevance, within: Mask) -> None:
        # Which commits touch what is known once the range is.
        files, functions = self._trace
        self._touching = relevance.touching(files)
        if self._read_mentions:
            merges = np.array([len(row) > 1 for row in self._plan.history.parents], dtype=np.bool_)
            self._mentioning = self._read_mentions(self._touching & within & ~merges, files, functions)

    def _take(self, fold: Fold) -> None:
        plan, self._fold = self._plan, fold
        self._search = Search(
            fold.history,
            bad=fold.kernels[plan.bad],
            good=[fold.kernels[end] for end in plan.good],
            tags=[fold.kernels[index] for _, index in plan.tags],
            strategy=plan.case.strategy,
            confidence=plan.case.confidence,
            costs=self._costs,
            prior=self._prior(),
            fix=plan.fix,
        )
        for observation in self._told:
            self._search.tell(self._of_kernel(observation))
