"""Many searches against a known truth: how often right, how often wrong, at what cost. Read `compare` and `WORLDS`.

`judge` is about one search of somebody else, whose truth is not known: how likely is its answer right?
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain

from kbench.errors import InputError
from kbench.host import usable_cores
from kbench.opinion import Judgement, judge
from kbench.search import Costs
from kbench.study.draw import draw_world
from kbench.study.policies import POLICIES
from kbench.study.scores import Band, Calibration, Score, Scores, calibrate, score, score_all
from kbench.study.specs import WORLDS, WorldSpec, world_spec
from kbench.study.trials import Trial, run_trial
from kbench.study.worlds import World

__all__ = [
    "POLICIES",
    "WORLDS",
    "Band",
    "Calibration",
    "Judgement",
    "Score",
    "Scores",
    "Trial",
    "World",
    "WorldSpec",
    "calibrate",
    "compare",
    "draw_world",
    "judge",
    "run_trial",
    "run_trials",
    "score",
    "score_all",
    "world_spec",
]


def compare(
    strategies: Sequence[str],
    spec: WorldSpec,
    *,
    trials: int,
    seed: int = 0,
    confidence: float = 0.95,
    costs: Costs | None = None,
    jobs: int | None = None,
) -> Scores:
    """Let strategies search the same worlds and return a score for each; parameters as for `run_trials`."""
    costs = costs or Costs()
    found = run_trials(strategies, spec, trials=trials, seed=seed, confidence=confidence, costs=costs, jobs=jobs)
    return score_all(found, width=costs.width)


def run_trials(
    strategies: Sequence[str],
    spec: WorldSpec,
    *,
    trials: int,
    seed: int = 0,
    confidence: float = 0.95,
    costs: Costs | None = None,
    jobs: int | None = None,
) -> list[Trial]:
    """Let strategies search the same worlds: run i of a kernel shows the same to each.

    Parameters
    ----------
    strategies : sequence of str
        Names of `POLICIES`.
    spec : WorldSpec
        The kind of worlds; `world_spec` knows some by name.
    trials : int
        Worlds drawn.
    seed : int
        Of worlds and runs.
    confidence : float
        When a strategy that weighs evidence stops.
    costs : Costs, optional
        Seconds of a build and of a run, and how many runs go on at once.
    jobs : int, optional
        Processes; all cores by default.

    Returns
    -------
    list of Trial
        World by world, in order of the strategies.

    Raises
    ------
    InputError
        No world, an unknown strategy, the same one twice.
    """
    if trials < 1:
        raise InputError(f"study: trials must be 1 or more, got {trials}; 200 tell a difference of 7%")
    if unknown := [name for name in strategies if name not in POLICIES]:
        raise InputError(f"study: expected strategies of {', '.join(sorted(POLICIES))}, seen {unknown[0]!r}; choose among them")
    if len(set(strategies)) != len(strategies):
        raise InputError(f"study: expected each strategy once, seen {','.join(strategies)}; name it once")
    work = partial(_search_world, tuple(strategies), spec, seed, confidence, costs or Costs())
    jobs = min(jobs or usable_cores(), trials)
    if jobs == 1:
        return list(chain.from_iterable(map(work, range(trials))))
    with ProcessPoolExecutor(jobs) as pool:
        return list(chain.from_iterable(pool.map(work, range(trials))))


def _search_world(
    strategies: tuple[str, ...], spec: WorldSpec, seed: int, confidence: float, costs: Costs, number: int
) -> list[Trial]:
    world = draw_world(spec, seed, number)
    return [run_trial(world, name, number, confidence=confidence, costs=costs) for name in strategies]
