"""Accuracy against cost: each strategy as often as it can be tuned. Read `frontier` first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kbench.paper.style import for_paper
from kbench.search import Costs
from kbench.search.bayes import BayesStrategy
from kbench.study import run_trials
from kbench.study.bound import bound, fewest_hours, has_bound
from kbench.study.policies import POLICIES
from kbench.study.scores import Score, score
from kbench.study.specs import WorldSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Point:
    """One strategy with one setting."""

    strategy: str
    confidence: float | None  # when it stops; None: it cannot be told
    score: Score
    least_hours: float | None  # that any search takes which is right as often; None: there is no bound for these worlds


class Frontier(tuple[Point, ...]):
    """The points of one kind of worlds, those of a strategy by confidence."""

    bound: Sequence[tuple[float, float]] = ()  # (hours, share right) that no search is above and left of, where one is known

    def plot(self, *, width_in: float = 7.0) -> Axes:
        """Draw accuracy against cost for a paper, with the bound; InputError for a width that is not from 3.3 to 20 inches."""
        from kbench.study.figures import frontier_figure

        return for_paper(frontier_figure({"": self}, {"": self.bound}), width_in)


def frontier(
    spec: WorldSpec,
    strategies: Sequence[str],
    confidences: Sequence[float],
    *,
    trials: int,
    seed: int = 0,
    costs: Costs | None = None,
    jobs: int | None = None,
) -> Frontier:
    """Let strategies search the same worlds, those that weigh evidence once for each confidence; as `run_trials` otherwise."""
    costs = costs or Costs()
    tuned = [name for name in strategies if issubclass(POLICIES.get(name, object), BayesStrategy)]
    plain = [name for name in strategies if name not in tuned]
    points = []
    for names, confidence in [(plain, None), *((tuned, confidence) for confidence in confidences)]:
        if not names:
            continue
        found = run_trials(names, spec, trials=trials, seed=seed, confidence=confidence or 0.95, costs=costs, jobs=jobs)
        for name in names:
            reached = score([trial for trial in found if trial.strategy == name], width=costs.width)
            least = fewest_hours(spec, reached.right, costs) if has_bound(spec) else None
            points.append(Point(name, confidence, reached, least))
    curve = Frontier(points)
    curve.bound = bound(spec, costs)
    return curve
