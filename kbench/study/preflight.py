"""Before a bisection: what each strategy would cost, and how likely it is right. Read `preflight` first."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kbench.errors import InputError
from kbench.evidence import Observation, Priors
from kbench.evidence.priors import LOWEST_RATE, FloatArray
from kbench.flakiness import Rate, rate
from kbench.history import History
from kbench.host import usable_cores
from kbench.paper.style import for_paper
from kbench.search import STRATEGIES, Costs, Search
from kbench.study.advice import advise
from kbench.study.graphs import Graph, draw_graph
from kbench.study.stretches import no_skips
from kbench.study.trials import Trial, run_trial
from kbench.study.worlds import TITLE, World

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COMMITS = 12_000  # of a simulated range: each doubling of a longer one takes one build more
MIN_TRIALS = 12
_WORK = 150_000  # commits times trials: some 15 s on two cores
_COLUMNS = "{:<12}{:<22}{:>8}{:>8}{:>8}{:>20}{:>14}"
_BESIDES = (
    "Only bad luck misleads in these: revisions that cannot be tested, a quarter of real ones, other bugs, and stretches where "
    "the reproducer does not get to the bug come on top."
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one strategy comes to, as means over the simulated searches; the build of the original commit is not counted."""

    strategy: str
    right: Rate  # named the culprit, or a list of ten at most that holds it
    wrong: float  # share that named others; the rest named none
    builds: float
    runs: float
    hours: float  # one run after the other
    hours_wide: float  # `width` runs at once


@dataclass(frozen=True, slots=True)
class Preflight:
    """What to expect of a bisection; `str` of it is a table."""

    candidates: int
    releases: int  # that are walked back over; 0: a good end is given
    seen: Rate  # of the original commit's runs, with Jeffreys' interval
    costs: Costs
    confidence: float
    trials: int  # simulated searches
    outlooks: tuple[Outlook, ...]  # in order of the strategies
    advice: tuple[str, ...] = ()

    def __str__(self) -> str:
        costs = self.costs
        walk = f" in {self.releases} releases" if self.releases else ""
        head = (
            f"{self.candidates} commits{walk}; {self.seen.k} of {self.seen.n} runs crashed, rate {self.seen}; a build takes "
            f"{costs.build:.3g} s, a run {costs.run:.3g} s; {self.trials} simulated searches"
        )
        wide = f"{costs.width} at once"
        lines = [head, "", _COLUMNS.format("strategy", "right", "wrong", "builds", "runs", "one after another", wide)]
        for one in self.outlooks:
            right = f"{one.right.estimate:.0%} [{one.right.low:.0%}, {one.right.high:.0%}]"
            times = _duration(one.hours), _duration(one.hours_wide)
            lines.append(_COLUMNS.format(one.strategy, right, f"{one.wrong:.0%}", f"{one.builds:.1f}", f"{one.runs:.0f}", *times))
        return "\n".join([*lines, "", _BESIDES, *(f"- {text}" for text in self.advice)])

    def plot(self, *, width_in: float = 7.0) -> Axes:
        """Draw for a paper how likely each strategy is right against what it takes, `width_in` from 3.3 to 20 inches."""
        from kbench.study.figures import preflight_figure

        return for_paper(preflight_figure(self), width_in)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def preflight(
    candidates: int | History,
    seen: tuple[int, int],
    *,
    costs: Costs,
    confidence: float = 0.95,
    strategies: Sequence[str] = ("bayes", "syzkaller", "git"),
    releases: int = 0,
    trials: int = 40,
    seed: int = 0,
    jobs: int | None = None,
) -> Preflight:
    """Simulate the bisection that is about to start, with each strategy on the same worlds.

    A world has a uniform culprit (in a walk, as many releases back as in real bisections) and a rate drawn from what `seen`
    leaves open. Nothing but bad luck misleads in it: commits that cannot be tested, other bugs, and stretches where the
    reproducer does not get to the bug come on top. What a bisection does first is paid for: the original commit is run again,
    a given good end is built and run.

    Parameters
    ----------
    candidates : int or History
        Commits of the range; or the range itself, whose newest commit crashes and whose oldest does not. Of more than
        MAX_COMMITS only so many are simulated.
    seen : tuple of int
        Crashes and runs on the original commit.
    costs : Costs
        Seconds of a build and of a run, and how many runs go on at once.
    confidence : float
        When a strategy that weighs evidence stops.
    strategies : sequence of str
        Names of `kbench.search.STRATEGIES`.
    releases : int
        The candidates lie in so many releases, and no good end is known. Not with a History.
    trials : int
        Worlds; fewer of more than 3750 commits, MIN_TRIALS at least.
    seed : int
        Of worlds and runs.
    jobs : int, optional
        Processes; all cores by default.

    Raises
    ------
    InputError
        No candidate, no run, more crashes than runs, an unknown strategy or the same one twice.
    """
    names = check_simulation(strategies, trials)
    _check(candidates, seen, releases)
    n = candidates if isinstance(candidates, int) else int(candidates.candidates(len(candidates) - 1, [0]).sum())
    size = min(n, MAX_COMMITS)
    trials = min(trials, max(MIN_TRIALS, _WORK // size))
    given = size if isinstance(candidates, int) else candidates
    work = partial(_search_world, given, releases, seed, names, confidence, costs)
    rates = draw_rates(seen, trials, np.random.default_rng(seed)).tolist()
    jobs = min(jobs or usable_cores(), trials)
    if jobs == 1:
        found = list(map(work, range(trials), rates))
    else:
        with ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(work, range(trials), rates))
    outlooks = tuple(_outlook(list(of_strategy), seen, costs, walks=releases > 0) for of_strategy in zip(*found, strict=True))
    plain = Preflight(n, releases, rate(*seen, method="jeffreys"), costs, confidence, trials, outlooks)
    return replace(plain, advice=advise(plain))


def draw_rates(seen: tuple[int, int], n: int, rng: np.random.Generator, priors: Priors | None = None) -> FloatArray:
    """Draw rates from what is left open after (crashes, runs), one from each n-th part of their distribution; shape (n,).

    The prior is half that of real bisections, at 1 or Beta(rate_a, rate_b), half Jeffreys', Beta(1/2, 1/2). Each part of such a
    mixture is updated by itself and weighs in by how well it foretold what was seen.
    """
    from scipy.special import betaincinv, betaln

    priors, (k, total) = priors or Priors.default(), seen
    shapes = np.array([(priors.rate_a, priors.rate_b), (0.5, 0.5)])
    foretold = np.exp(betaln(shapes[:, 0] + k, shapes[:, 1] + total - k) - betaln(shapes[:, 0], shapes[:, 1]))
    weights = np.array([priors.p_rate_one * (k == total), *(foretold * [1 - priors.p_rate_one, 1.0])])
    weights /= weights.sum()
    places = (np.arange(n) + rng.random(n)) / n
    starts = np.cumsum(weights) - weights
    part = np.searchsorted(starts, places, side="right") - 1
    inside = np.clip((places - starts[part]) / weights[part], 0.0, 1.0)
    a, b = (shapes + np.array([k, total - k]))[part - 1].T
    return np.maximum(np.where(part == 0, 1.0, betaincinv(a, b, inside)), LOWEST_RATE)


def _search_world(
    given: int | History,
    releases: int,
    seed: int,
    strategies: tuple[str, ...],
    confidence: float,
    costs: Costs,
    number: int,
    crash_rate: float,
) -> list[Trial]:
    world = _draw_world(given, releases, crash_rate, (seed, number))
    return [
        run_trial(replace(world, first_runs=_runs_of_end(name)), name, number, confidence=confidence, costs=costs)
        for name in strategies
    ]


def _draw_world(given: int | History, releases: int, crash_rate: float, seed: tuple[int, int]) -> World:
    # The oldest stretch of a walk is what its oldest release grew from.
    rng, priors = np.random.default_rng(seed), Priors.default()
    if isinstance(given, History):
        graph = Graph(given, ())
    else:
        graph = draw_graph(rng, [max(1, given // max(releases, 1))] * (releases + 1))
    history, bad = graph.history, len(graph.history) - 1
    ends = [bad, *graph.tags] if releases else [bad, 0]
    back = _release(rng, releases, priors) if releases else 0
    culprit = int(rng.choice(np.flatnonzero(history.candidates(ends[back], [ends[back + 1]]))))
    buggy = history.descendants(culprit)
    return World(
        history=history,
        bad=bad,
        good=() if releases else (0,),
        tags=graph.tags,
        culprit=culprit,
        older=False,
        buggy=buggy,
        rate=np.where(buggy, crash_rate, 0.0),
        changed=np.zeros(len(history), dtype=np.bool_),
        changed_title="",
        second_title=False,
        foreign=(),
        noise=0.0,
        skip=no_skips(len(history)),
        kernel=np.arange(len(history)),
        seed=seed,
        limit_h=np.inf,
    )


def _release(rng: np.random.Generator, releases: int, priors: Priors) -> int:
    # How many releases back the culprit is, given that it is in the range.
    p = priors.depths(releases)
    return int(rng.choice(releases, p=p / p.sum()))


def _runs_of_end(strategy: str, seen: tuple[int, int] | None = None) -> int:
    # Runs a strategy wants of the original commit; after those, with what they showed, of a given good end.
    search = Search(History.from_parents([(), (0,)]), bad=1, good=[0], strategy=strategy)
    if seen is None:
        return search.runs(1)
    search.tell(Observation(1, passed=seen[1] - seen[0], crashes={TITLE: seen[0]}))
    return search.runs(0)


def _outlook(found: Sequence[Trial], seen: tuple[int, int], costs: Costs, *, walks: bool) -> Outlook:
    n, name = len(found), found[0].strategy
    runs = 0 if walks else _runs_of_end(name, seen)
    builds = 0 if walks else 1
    # The kernel of the original commit is there, that of a given good end is not.
    build_h = (builds - 1) * costs.build / 3600
    return Outlook(
        name,
        rate(sum(trial.answer == "right" for trial in found), n),
        sum(trial.answer == "wrong" for trial in found) / n,
        sum(trial.builds for trial in found) / n + builds - 1,
        sum(trial.runs for trial in found) / n + runs,
        sum(trial.hours for trial in found) / n + build_h + runs * costs.run / 3600,
        sum(trial.hours_wide for trial in found) / n + build_h + -(-runs // costs.width) * costs.run / 3600,
    )


def _duration(hours: float) -> str:
    for unit, of_hour in (("h", 1), ("min", 60)):
        if hours * of_hour >= 1:
            return f"{hours * of_hour:.1f} {unit}"
    return f"{hours * 3600:.0f} s"


def check_simulation(names: Sequence[str], trials: int) -> tuple[str, ...]:
    """Return the names; InputError unless each is a strategy, named once, and there is a trial."""
    if trials < 1:
        raise InputError(f"preflight: expected 1 trial or more, got {trials}; 40 tell a difference of 15%")
    if not names or len(set(names)) != len(names) or not set(names) <= set(STRATEGIES):
        known = ", ".join(sorted(STRATEGIES))
        raise InputError(f"preflight: expected strategies of {known}, each once, got {','.join(names)!r}; choose among them")
    return tuple(names)


def _check(candidates: int | History, seen: tuple[int, int], releases: int) -> None:
    n = candidates if isinstance(candidates, int) else len(candidates) - 1
    if n < 1 or releases < 0:
        raise InputError(f"preflight: expected 1 candidate or more, got {n} in {releases} releases; widen good..bad")
    if isinstance(candidates, History) and releases:
        raise InputError(f"preflight: expected a number of candidates with {releases} releases, got a history; give its length")
    if not 0 <= seen[0] <= seen[1] or not seen[1]:
        raise InputError(f"preflight: expected crashes and runs, 1 run or more, got {seen[0]} of {seen[1]}; run it first")
