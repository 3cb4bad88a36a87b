"""What trials come to: accuracy, costs, calibration. Read `Score`, `score` and `Scores` first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kbench.paper.style import chosen, for_paper
from kbench.study.trials import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BANDS = (0.0, 0.5, 0.66, 0.8, 0.9, 0.95, 0.975, 0.99, 1.0)  # edges of the confidence bands; the last includes 1
_LEAST = 1e-6  # a confidence is kept so far from 0 and 1 in the log loss


@dataclass(frozen=True, slots=True)
class Band:
    """Answers given with a confidence in [low, high): one point of a reliability diagram."""

    low: float
    high: float
    n: int
    said: float  # mean confidence
    right: float  # share that was right
    error: float  # standard error of that share, under what was said


@dataclass(frozen=True, slots=True)
class Calibration:
    """Is confidence the share of right answers? Of outcomes that claim something: all but lists and spent budgets."""

    n: int
    said: float  # mean confidence
    right: float
    brier: float
    log_loss: float
    bands: tuple[Band, ...]
    n_sets: int  # searches with candidates whose culprit was in range
    coverage_90: float | None  # share of them whose most likely 90% hold the culprit


@dataclass(frozen=True, slots=True)
class Score:
    """How one strategy did over all worlds; shares of the trials, and costs as means a search."""

    strategy: str
    trials: int
    right: float  # named the culprit, or a list of at most ten that holds it
    wrong: float  # named others
    none: float
    right_error: float  # standard error of `right`
    declined_right: float | None  # of those that named none: the reason it gave is the truth
    n_lists: int  # inconclusive ends
    lists_hold: float | None  # of those: the candidates hold the culprit
    listed: float | None  # of those: median number of candidates
    failed: dict[str, float]  # of the failures: began on the original commit, in the walk over releases, in the range
    builds: float
    runs: float
    hours: float  # one run after the other
    hours_wide: float  # `width` runs at once
    width: int
    calibration: Calibration


class Scores(tuple[Score, ...]):
    """The scores of strategies on the same worlds, in the order they were named."""

    __slots__ = ()

    def plot(self, what: str = "cost", *, width_in: float = 7.0) -> Axes:
        """Draw for a paper: accuracy against "cost", "calibration", or the "answers" by kind.

        Raises
        ------
        InputError
            Another name, more strategies than there are marks, or a width that is not from 3.3 to 20 inches.
        """
        from kbench.study.figures import answers_figure, frontier_figure, reliability_figure
        from kbench.study.frontier import Point

        if chosen(what, {name: name for name in ("cost", "calibration", "answers")}) == "cost":
            figure = frontier_figure({"": [Point(one.strategy, None, one, None) for one in self]}, {})
        elif what == "calibration":
            figure = reliability_figure({one.strategy: one.calibration.bands for one in self})
        else:
            figure = answers_figure({"": self})
        return for_paper(figure, width_in)


def score(trials: Sequence[Trial], *, width: int) -> Score:
    """Sum up the trials, one or more, of one strategy."""
    n = len(trials)
    shares = {answer: sum(trial.answer == answer for trial in trials) / n for answer in ("right", "wrong", "none")}
    failed = [trial.failed_stage for trial in trials if trial.answer != "right"]
    declined = [trial.outcome_right for trial in trials if trial.answer == "none"]
    lists = [trial for trial in trials if trial.outcome == "inconclusive" and trial.truth == "in range"]
    return Score(
        strategy=trials[0].strategy,
        trials=n,
        **shares,
        right_error=math.sqrt(shares["right"] * (1 - shares["right"]) / n),
        declined_right=_mean(declined),
        n_lists=len(lists),
        lists_hold=_mean([trial.holds for trial in lists]),
        listed=float(np.median([trial.listed for trial in lists])) if lists else None,
        failed={stage: failed.count(stage) / len(failed) for stage in "ABC"} if failed else {},
        builds=sum(trial.builds for trial in trials) / n,
        runs=sum(trial.runs for trial in trials) / n,
        hours=sum(trial.hours for trial in trials) / n,
        hours_wide=sum(trial.hours_wide for trial in trials) / n,
        width=width,
        calibration=calibrate(trials),
    )


def score_all(trials: Sequence[Trial], *, width: int) -> Scores:
    """Sum up the trials of several strategies, each by itself, in the order they come in."""
    names = dict.fromkeys(trial.strategy for trial in trials)
    return Scores(score([trial for trial in trials if trial.strategy == name], width=width) for name in names)


def calibrate(trials: Sequence[Trial]) -> Calibration:
    """Compare what was said with what was right; trials may be of many kinds of worlds."""
    claims = [trial for trial in trials if trial.outcome not in ("inconclusive", "budget spent")]
    said = np.array([trial.confidence for trial in claims])
    right = np.array([trial.outcome_right for trial in claims], dtype=np.float64)
    near = np.clip(said, _LEAST, 1 - _LEAST)
    sets = [trial.holds_90 for trial in trials if trial.truth == "in range" and trial.outcome in ("culprit", "inconclusive")]
    return Calibration(
        n=len(claims),
        said=float(said.mean()) if claims else 0.0,
        right=float(right.mean()) if claims else 0.0,
        brier=float(((said - right) ** 2).mean()) if claims else 0.0,
        log_loss=float(-(right * np.log(near) + (1 - right) * np.log(1 - near)).mean()) if claims else 0.0,
        bands=_bands(said, right),
        n_sets=len(sets),
        coverage_90=_mean(sets),
    )


def _bands(said: np.ndarray, right: np.ndarray) -> tuple[Band, ...]:
    place = np.digitize(said, BANDS[1:-1])
    bands = []
    for number in np.unique(place).tolist():
        inside = place == number
        n, mean = int(inside.sum()), float(said[inside].mean())
        error = math.sqrt(float((said[inside] * (1 - said[inside])).sum())) / n
        bands.append(Band(BANDS[number], BANDS[number + 1], n, mean, float(right[inside].mean()), error))
    return tuple(bands)


def _mean(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
