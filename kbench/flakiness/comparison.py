"""Two rates compared. Read `compare` first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kbench.errors import InputError
from kbench.flakiness.rates import LEVEL, check_counts, rate

ExactTest = Literal["boschloo", "barnard", "fisher"]
Alternative = Literal["two-sided", "greater", "less"]
Counts = tuple[int, int]  # crashes, runs


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two rates, their difference, and how likely counts so far apart are when the rates are equal."""

    n: tuple[int, int]
    k: tuple[int, int]
    difference: float  # first rate less second
    low: float
    high: float
    p_value: float
    test: ExactTest
    alternative: Alternative  # what the first rate is to the second, when they differ
    level: float = LEVEL

    def __str__(self) -> str:
        """`41:60 against 0:120, difference 0.68 [0.55, 0.79] 95%, p 8.2e-27`."""
        first, second = (f"{k}:{n}" for k, n in zip(self.k, self.n))
        interval = f"[{self.low:.2f}, {self.high:.2f}] {100 * self.level:.4g}%"
        return f"{first} against {second}, difference {self.difference:.2f} {interval}, p {self.p_value:.2g}"


def compare(
    first: Counts,
    second: Counts,
    *,
    test: ExactTest = "boschloo",
    alternative: Alternative = "two-sided",
    level: float = LEVEL,
) -> Comparison:
    """Compare two rates, each given as crashes and runs.

    Boschloo's test rejects whenever Fisher's does and more often besides, at the same level: Boschloo (1970), Raised
    conditional level of significance for the 2 x 2 table, Statistica Neerlandica 24, 1-9. Barnard (1945), A new test
    for 2 x 2 tables, Nature 156, 177. Both take seconds from some 500 runs a side on; Fisher's takes none. The interval is
    Newcombe's, two-sided whatever the alternative.

    Raises
    ------
    InputError
        Impossible counts, nothing run on one side, an unknown test or alternative.
    """
    for crashed, total in (first, second):
        check_counts("compare", crashed, total, least=1)
    for name, chosen, known in (("test", test, get_args(ExactTest)), ("alternative", alternative, get_args(Alternative))):
        if chosen not in known:
            raise InputError(f"compare: need {name} one of {', '.join(known)}, got {chosen!r}; choose one")
    (k_1, n_1), (k_2, n_2) = first, second
    low, high = _difference_interval(first, second, level)
    p_value = _p_value([[k_1, k_2], [n_1 - k_1, n_2 - k_2]], test, alternative)
    return Comparison((n_1, n_2), (k_1, k_2), k_1 / n_1 - k_2 / n_2, low, high, p_value, test, alternative, level)


def _p_value(table: list[list[int]], test: ExactTest, alternative: Alternative) -> float:
    # One column a revision: that is how scipy wants the groups whose sizes were chosen.
    from scipy import stats

    if test == "fisher":
        return float(stats.fisher_exact(np.array(table), alternative=alternative).pvalue)
    exact = stats.boschloo_exact if test == "boschloo" else stats.barnard_exact
    return float(exact(table, alternative=alternative).pvalue)


def _difference_interval(first: Counts, second: Counts, level: float) -> tuple[float, float]:
    # From two Wilson intervals: Newcombe (1998), Interval estimation for the difference between independent proportions,
    # Statistics in Medicine 17, 873-890, method 10.
    one, two = rate(*first, level=level), rate(*second, level=level)
    difference = one.estimate - two.estimate
    low = difference - math.hypot(one.estimate - one.low, two.high - two.estimate)
    high = difference + math.hypot(one.high - one.estimate, two.estimate - two.low)
    return max(low, -1.0), min(high, 1.0)
