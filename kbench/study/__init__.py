"""Many searches against a known truth: how often right, how often wrong, at what cost. Read `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kbench.errors import InputError
from kbench.search import STRATEGIES, Costs, Search, SearchResult
from kbench.study.worlds import World, draw_world

__all__ = ["Score", "World", "compare", "draw_world", "search_world"]


@dataclass(frozen=True, slots=True)
class Score:
    """How one strategy did over all worlds; costs are means a search."""

    strategy: str
    trials: int
    right: float  # share that named the culprit
    wrong: float  # share that named another commit
    none: float  # share that named none
    builds: float
    runs: float
    hours: float  # one run after the other


def compare(
    strategies: Sequence[str],
    *,
    trials: int,
    commits: int,
    rate: float,
    skips: float = 0.0,
    seed: int = 0,
    costs: Costs | None = None,
) -> list[Score]:
    """Let strategies search the same worlds and return a score for each.

    Parameters
    ----------
    strategies : sequence of str
        Names of `kbench.search.STRATEGIES`.
    trials : int
        Worlds drawn.
    commits : int
        Candidates in each.
    rate : float
        Reproduction rate of the bug, above 0 and at most 1.
    skips : float
        Share of the commits that cannot be tested, below 1.
    costs : Costs, optional
        Seconds of a build and of a run.

    Raises
    ------
    InputError
        A parameter outside of its range, an unknown strategy.
    """
    for name, value, fine in (
        ("trials", trials, trials >= 1),
        ("commits", commits, commits >= 2),
        ("rate", rate, 0 < rate <= 1),
        ("skips", skips, 0 <= skips < 1),
    ):
        if not fine:
            raise InputError(f"study: {name} is out of range, got {value}; see `kbench study --help`")
    if unknown := [name for name in strategies if name not in STRATEGIES]:
        raise InputError(f"study: expected strategies of {', '.join(sorted(STRATEGIES))}, seen {unknown[0]!r}; choose among them")
    costs = costs or Costs()
    return [_score(name, trials, commits, rate, skips, seed, costs) for name in strategies]


def _score(strategy: str, trials: int, commits: int, rate: float, skips: float, seed: int, costs: Costs) -> Score:
    right = wrong = builds = runs = 0
    for trial in range(trials):
        rng = np.random.default_rng((seed, trial))
        world = draw_world(rng, commits=commits, rate=rate, skips=skips)
        found, n_builds, n_runs = search_world(world, strategy, rng, costs=costs)
        right += found.culprit == world.culprit
        wrong += found.culprit not in (None, world.culprit)
        builds += n_builds
        runs += n_runs
    hours = (builds * costs.build + runs * costs.run) / 3600 / trials
    none = (trials - right - wrong) / trials
    return Score(strategy, trials, right / trials, wrong / trials, none, builds / trials, runs / trials, hours)


def search_world(world: World, strategy: str, rng: np.random.Generator, *, costs: Costs) -> tuple[SearchResult, int, int]:
    """Let one strategy search one world; return its result and how many revisions and runs it asked for."""
    search = Search(world.history, bad=len(world.history) - 1, good=[0], strategy=strategy, costs=costs, rng=rng)
    seen: set[int] = set()
    runs = 0
    while experiments := search.ask():
        for experiment in experiments:
            seen.add(experiment.commit)
            runs += 0 if experiment.commit in world.skipped else experiment.runs
            search.tell(world.observe(experiment.commit, experiment.runs, rng))
    return search.result, len(seen), runs
