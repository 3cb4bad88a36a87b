"""Which revision next, how many runs, when to stop. Read `Search` first.

Pure: no clock, disk, git or globals; whoever answers `ask` is an adapter. `STRATEGIES` names the ways to search.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from kbench.errors import SearchError
from kbench.evidence import Observation
from kbench.history import History, Mask
from kbench.records import Verdict
from kbench.search.bayes import BayesStrategy
from kbench.search.git import GitStrategy
from kbench.search.question import Costs, Experiment, Question, SearchResult, Strategy
from kbench.search.syzkaller import SyzkallerStrategy

__all__ = ["STRATEGIES", "Costs", "Experiment", "Observation", "Search", "SearchResult"]

STRATEGIES: Mapping[str, type[Strategy]] = MappingProxyType(
    {"bayes": BayesStrategy, "git": GitStrategy, "syzkaller": SyzkallerStrategy}
)


class Search:
    """Find the first bad commit by asking, running and telling.

    `ask` changes nothing; telling the same observations again in the same order rebuilds the same state. Observations of
    one commit add up.

    Parameters
    ----------
    history : History
        The commit graph. Commits are indices into it.
    bad : int
        The commit the bug was found on. In a fix bisection the newer end, which no longer crashes.
    good : sequence of int
        Commits without the bug; in a fix bisection older commits that crash.
    tags : sequence of int
        Releases, newest first. With no good end the search walks back over them until one is good; those `bad` does not
        contain are left out, and nothing older than the last is testable.
    strategy : str
        A name in `STRATEGIES`.
    confidence : float
        When to stop, for strategies that weigh evidence.
    costs : Costs
        Seconds of a build and of a run, and runs at a time, for strategies that weigh costs.
    prior : array of shape (n,), optional
        Weight of each commit as culprit, for strategies that weigh evidence; in a walk over releases, beside what is believed
        of each release, a commit of no special weight having the mean.
    rng : numpy.random.Generator, optional
        For strategies that draw.
    fix : bool
        Search the commit that fixed the bug: a clean commit is what git calls bad.

    Raises
    ------
    SearchError
        An unknown strategy, an index outside of the history, ends that enclose no commit, neither a good end nor tags.
    """

    def __init__(
        self,
        history: History,
        *,
        bad: int,
        good: Iterable[int] = (),
        tags: Iterable[int] = (),
        strategy: str = "bayes",
        confidence: float = 0.95,
        costs: Costs | None = None,
        prior: Sequence[float] | NDArray[np.float64] | None = None,
        rng: np.random.Generator | None = None,
        fix: bool = False,
    ) -> None:
        if strategy not in STRATEGIES:
            raise SearchError(
                f"search: strategy must be one of {', '.join(sorted(STRATEGIES))}, got {strategy!r}; choose one of them"
            )
        question = Question(
            history, bad, tuple(good), tuple(tags), fix=fix, confidence=confidence, costs=costs or Costs(), prior=prior, rng=rng
        )
        self.history = history
        self._strategy = STRATEGIES[strategy](question)

    def ask(self, width: int = 1) -> list[Experiment]:
        """What to run next, `width` experiments at most; [] when the search is finished. Changes nothing."""
        return self._strategy.ask(width)

    def tell(self, observation: Observation) -> None:
        """Take in what was seen, asked for or not."""
        self.history.check(observation.commit, "observed commit")
        self._strategy.tell(observation)

    @property
    def result(self) -> SearchResult:
        """What is known now; its `outcome` is None while the search goes on."""
        return self._strategy.result

    @property
    def remaining(self) -> Mask:
        """Commits that can still be the culprit, shape (n,)."""
        return self._strategy.remaining

    @property
    def assumed(self) -> Sequence[tuple[int, Mask]]:
        """Commits of a fix bisection that are older than the bug and count as crashing untested, each with `remaining` before."""
        return getattr(self._strategy, "assumed", ())

    @property
    def stage(self) -> str:
        """Of the next question: "original", "head", "release", "merge base", "end" or "bisect"; "" when finished."""
        return self._strategy.stage

    def runs(self, commit: int) -> int:
        """How many runs the strategy wants of a commit."""
        return self._strategy.runs(self.history.check(commit))

    def verdict(self, commit: int) -> Verdict | None:
        """What all runs of a commit come to: BAD is that the bug is there, in a fix bisection too. None: nothing told."""
        return self._strategy.verdict(self.history.check(commit))

    def fork(self) -> Search:
        """Return a copy that can be told something else."""
        return copy.deepcopy(self, {id(self.history): self.history})
