"""What goes into a search and what comes out of it, for every strategy. Read `Question` and `Strategy` first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from kbench.errors import SearchError
from kbench.evidence import Observation
from kbench.history import History, Mask
from kbench.records import Verdict

SearchOutcome = Literal["culprit", "inconclusive", "not reproduced", "older than range", "not in range", "budget spent"]


@dataclass(frozen=True, slots=True)
class Costs:
    """What an experiment costs, in seconds, and how many runs go on side by side."""

    build: float = 387.0
    run: float = 46.0
    width: int = 1
    ask: float = 0.0  # seconds each question takes besides


@dataclass(frozen=True, slots=True)
class Experiment:
    """Build this commit and run the reproducer so often."""

    commit: int  # index in the history
    runs: int
    at_most: int = 0  # who can end a batch with the first run that shows the bug is better off with so many; 0: does not matter


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search knows.

    `outcome` is None while it goes on, and at the end one of

    - "culprit": found, `culprit` is set
    - "inconclusive": one of `candidates`, and nothing left that can be tested
    - "not reproduced": the commit the bug was found on does not show it
    - "older than range": the oldest commit that may be tested has the bug already
    - "not in range": the newer end of a fix bisection still has the bug, or a merge base contradicts the ends
    - "budget spent": stopped before it knew
    """

    culprit: int | None
    confidence: float  # P(the outcome is right) by the strategy's own rule; 0 while the search goes on
    candidates: tuple[tuple[int, float], ...]  # commit, probability; most probable first, then newest first
    outcome: SearchOutcome | None


@dataclass(frozen=True, slots=True)
class Question:
    """The ends of a search, checked; see `Search` for the fields. Commits become plain ints."""

    history: History
    bad: int
    good: tuple[int, ...]
    tags: tuple[int, ...]
    fix: bool = False
    confidence: float = 0.95
    costs: Costs = field(default_factory=Costs)
    prior: Sequence[float] | NDArray[np.float64] | None = None
    rng: np.random.Generator | None = None

    def __post_init__(self) -> None:
        history = self.history
        bad = history.check(self.bad, "bad end")
        good = tuple(history.check(commit, "good end") for commit in self.good)
        contained = history.ancestors(bad)
        tags = tuple(history.check(tag, "tag") for tag in self.tags)
        for name, value in (("bad", bad), ("good", good), ("tags", tuple(tag for tag in tags if contained[tag] and tag != bad))):
            object.__setattr__(self, name, value)
        if not 0 < self.confidence < 1:
            raise SearchError(f"search: confidence must lie between 0 and 1, got {self.confidence}; 0.95 is usual")
        if not good and (self.fix or not self.tags):
            wanted = "an older end that crashes" if self.fix else "a good end, or tags that the bad end contains"
            raise SearchError(f"search: need {wanted}, got none; name one in good")
        if any(history.is_ancestor(bad, commit) for commit in good):
            raise SearchError(f"search: good ends must not contain the bad end {bad}, one of {list(good)} does; swap the ends")

    @property
    def crashing(self) -> tuple[int, ...]:
        """Ends that are said to have the bug."""
        return self.good if self.fix else (self.bad,)

    @property
    def clean(self) -> tuple[int, ...]:
        """Ends that are said not to have it."""
        return (self.bad,) if self.fix else self.good


class Strategy(Protocol):
    """A way to search; `Search` hands everything on to it, checked."""

    def __init__(self, question: Question) -> None: ...
    def ask(self, width: int) -> list[Experiment]: ...
    def tell(self, observation: Observation) -> None: ...
    def verdict(self, commit: int) -> Verdict | None: ...
    def runs(self, commit: int) -> int: ...
    @property
    def result(self) -> SearchResult: ...
    @property
    def remaining(self) -> Mask: ...
    @property
    def stage(self) -> str: ...
