"""Worlds with a known truth: a commit graph, a culprit, a reproduction rate, revisions that cannot be tested. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kbench.history import History
from kbench.search import Observation

#: Title of the one bug of these worlds.
TITLE = "the bug"


@dataclass(frozen=True, slots=True)
class World:
    """One simulated truth. Index 0 is the good end, the last commit the bad one."""

    history: History
    culprit: int
    rate: float  # P(crash) of a run on a commit that contains the culprit
    skipped: frozenset[int]  # commits that do not build

    def observe(self, commit: int, runs: int, rng: np.random.Generator) -> Observation:
        """Return what so many runs of a commit show."""
        if commit in self.skipped:
            return Observation(commit, skip="build")
        buggy = self.history.is_ancestor(self.culprit, commit)
        crashed = int(rng.binomial(runs, self.rate)) if buggy else 0
        return Observation(commit, passed=runs - crashed, crashes={TITLE: crashed} if crashed else {})


def draw_world(rng: np.random.Generator, *, commits: int, rate: float, skips: float) -> World:
    """Draw a world of so many candidates.

    The graph is a mainline that merges topic branches forked at earlier points, about 8% of all commits merges, as in Linux
    (one-release ranges have 4 to 8%); the culprit is uniform over the candidates; a share `skips` cannot be tested.
    """
    parents: list[tuple[int, ...]] = [()]
    tip, mainline = 0, [0]
    while len(parents) <= commits:
        room = commits - len(parents)
        length = min(int(rng.integers(4, 21)), room)
        if length < 2:
            parents.append((tip,))
            tip = len(parents) - 1
        else:
            fork = mainline[-min(int(rng.integers(1, 6)), len(mainline))]
            for _ in range(length):
                parents.append((fork,))
                fork = len(parents) - 1
            parents.append((tip, fork))
            tip = len(parents) - 1
        mainline.append(tip)
    history = History.from_parents(parents)
    candidates = np.flatnonzero(history.candidates(len(parents) - 1, [0]))
    culprit = int(rng.choice(candidates))
    loose = [int(c) for c in candidates if c not in (culprit, len(parents) - 1, *parents[culprit])]
    skipped: Sequence[int] = (
        rng.choice(loose, size=min(int(skips * len(candidates)), len(loose)), replace=False).tolist() if skips else []
    )
    return World(history, culprit, rate, frozenset(skipped))
