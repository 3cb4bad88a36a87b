"""How many runs it takes to tell two rates apart. Read `power` and `runs_for_power` first.

Exact: the whole rejection region of the test is worked out, then its probability. Groups of one size only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kbench.errors import InputError
from kbench.flakiness.rates import check_share, first_true

FloatArray = NDArray[np.float64]
RegionTest = Literal["boschloo", "fisher"]

_NUISANCE = np.linspace(0.001, 0.999, 999)  # common rates over which a size is maximised; symmetric about one half
_SAW = 8  # power of an exact test dips for some runs after it first reaches a value


@dataclass(frozen=True, slots=True)
class Power:
    """What `n` runs of each of two revisions can tell."""

    n: int
    rates: tuple[float, float]
    power: float  # P(the test calls them different)
    alpha: float  # P(it does so when they are equal) is at most this
    two_sided: bool
    test: RegionTest

    def __str__(self) -> str:
        """`22 runs each tell 0.02 from 0.4 with power 0.82, alpha 0.05`."""
        low, high = sorted(self.rates)
        return f"{self.n} runs each tell {low:.2g} from {high:.2g} with power {self.power:.2f}, alpha {self.alpha:.2g}"


def power(
    first: float, second: float, n: int, *, alpha: float = 0.05, two_sided: bool = True, test: RegionTest = "boschloo"
) -> Power:
    """Return the power of telling a rate `first` from a rate `second` with `n` runs each.

    Two-sided, each side gets half of `alpha`: so does Boschloo's test in `compare`, whereas Fisher's there sums the tables
    that are no likelier. One-sided, the alternative is the true one.

    Raises
    ------
    InputError
        Rates that are equal or not from 0 to 1, n < 1, alpha not between 0 and 1, an unknown test.
    """
    _check(first, second, alpha, test)
    if n < 1:
        raise InputError(f"power: need 1 run or more, got {n}; give the runs of each revision")
    from scipy.stats import binom

    p_low, p_high = sorted((first, second))
    counts = np.arange(n + 1)
    least = _least_crashes(n, alpha / 2 if two_sided else alpha, test)
    found = float(binom.pmf(counts, n, p_low) @ binom.sf(least - 1, n, p_high))
    if two_sided:  # and the wrong way round, for completeness
        found += float(binom.pmf(counts, n, p_high) @ binom.sf(least - 1, n, p_low))
    return Power(n, (first, second), min(found, 1.0), alpha, two_sided, test)


def runs_for_power(
    first: float,
    second: float,
    *,
    wanted: float = 0.8,
    alpha: float = 0.05,
    two_sided: bool = True,
    test: RegionTest = "boschloo",
    max_runs: int = 2000,
) -> Power:
    """Return the smallest number of runs of each revision that reaches the power `wanted`; see `power`.

    Raises
    ------
    InputError
        Also when `max_runs` do not do.
    """
    _check(first, second, alpha, test)
    check_share("power", "wanted", wanted)

    def reached(n: int) -> Power:
        return power(first, second, min(n, max_runs), alpha=alpha, two_sided=two_sided, test=test)

    n = first_true(lambda n: n >= max_runs or reached(n).power >= wanted)
    enough = [found for found in map(reached, range(max(1, n - _SAW), n + 1)) if found.power >= wanted]
    if not enough:
        raise InputError(f"power: need {wanted:.2g} within {max_runs} runs each, got {reached(n).power:.2g}; raise max_runs")
    return enough[0]


@lru_cache(maxsize=256)
def _least_crashes(n: int, alpha: float, test: RegionTest) -> NDArray[np.int64]:
    # For each number of crashes j of one revision, how many of the other make the one-sided test reject; n + 1: none do.
    p_fisher = _fisher_p_values(n)
    if test == "fisher":
        return (p_fisher > alpha).sum(axis=1)
    from scipy.stats import binom

    pmf: FloatArray = np.asarray(binom.pmf(np.arange(n + 1)[:, None], n, _NUISANCE))
    tail = np.vstack([pmf[::-1].cumsum(axis=0)[::-1], np.zeros(len(_NUISANCE))])  # P(crashes >= row), shape (n + 2, rates)

    def least(level: float) -> NDArray[np.int64]:
        return (p_fisher > level * (1 + 1e-9)).sum(axis=1)  # equal p differ by rounding

    def size(level: float) -> float:
        # The largest P(reject) when both rates are equal.
        return float((pmf * tail[least(level)]).sum(axis=0).max())

    # Boschloo: Fisher's p as the statistic, its own limit raised as far as the size allows.
    levels = np.unique(p_fisher[p_fisher > alpha])
    low, high = -1, len(levels)  # levels[low] keeps the size, levels[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(levels[middle]) <= alpha else (low, middle)
    return least(float(levels[low]) if low >= 0 else alpha)


def _fisher_p_values(n: int) -> FloatArray:
    # Fisher's one-sided p of each table (crashes j of one, crashes k of the other, n runs each); falls with k. Shape
    # (n + 1, n + 1). Tables with the same total are an anti-diagonal, and one hypergeometric distribution.
    from scipy.special import gammaln

    log_factorial = gammaln(np.arange(2 * n + 1) + 1.0)
    log_of_n = log_factorial[n] - log_factorial[: n + 1] - log_factorial[n::-1]  # log of n over j
    log_of_2n = log_factorial[2 * n] - log_factorial - log_factorial[::-1]
    counts = np.arange(n + 1)
    p_values = np.exp(log_of_n[:, None] + log_of_n - log_of_2n[counts[:, None] + counts])
    for j in counts[1:]:
        p_values[j, :-1] += p_values[j - 1, 1:]
    return p_values


def _check(first: float, second: float, alpha: float, test: RegionTest) -> None:
    check_share("power", "alpha", alpha)
    for p in (first, second):
        if not 0 <= p <= 1:
            raise InputError(f"power: need rates from 0 to 1, got {p}; give shares")
    if first == second:
        raise InputError(f"power: need two different rates, got {first} twice; no number of runs tells them apart")
    if test not in get_args(RegionTest):
        raise InputError(f"power: need a test of {', '.join(get_args(RegionTest))}, got {test!r}; name one of them")
