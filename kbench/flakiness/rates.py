"""One rate: its interval, and how many runs it takes to know it or to rule it out. Read `rate` first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from kbench.errors import InputError

LEVEL = 0.95  # of every interval shown
IntervalMethod = Literal["wilson", "jeffreys", "clopper-pearson"]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of runs that crashed, `k` of `n`, and the interval that holds the true rate at `level`."""

    n: int
    k: int
    estimate: float  # k / n; nan when nothing was run
    low: float
    high: float
    level: float = LEVEL
    method: IntervalMethod = "wilson"

    def __str__(self) -> str:
        """`0.35 [0.18, 0.57] 95%`."""
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}] {100 * self.level:.4g}%"


@lru_cache(maxsize=4096)
def rate(crashed: int, total: int, *, method: IntervalMethod = "wilson", level: float = LEVEL) -> Rate:
    """Return the crash rate of `total` runs with its interval.

    Wilson's score interval stays inside [0, 1], is not empty at 0 or n crashes and holds its level on average over
    rates; Jeffreys' does so too and is the narrower one near 0 and 1; Clopper and Pearson's holds it at every rate and is the
    widest. Wilson (1927), JASA 22, 209-212; Clopper and Pearson (1934), Biometrika 26, 404-413; Brown, Cai and
    DasGupta (2001), Interval estimation for a binomial proportion, Statistical Science 16, 101-133.

    Raises
    ------
    InputError
        If not 0 <= crashed <= total, the level is not between 0 and 1, or the method is unknown.
    """
    check_counts("rate", crashed, total)
    check_share("rate", "level", level)
    if method not in get_args(IntervalMethod):
        raise InputError(f"rate: need a method of {', '.join(get_args(IntervalMethod))}, got {method!r}; name one of them")
    if total == 0:
        return Rate(0, 0, math.nan, 0.0, 1.0, level, method)
    from scipy import stats  # a second, and `import kbench` must stay light

    if method == "jeffreys":
        ends = stats.beta(crashed + 0.5, total - crashed + 0.5).interval(level)
        # The ends go to 0 and 1 where nothing and where everything crashed: Brown, Cai and DasGupta, section 3.1.1.
        low, high = 0.0 if crashed == 0 else ends[0], 1.0 if crashed == total else ends[1]
    else:
        named: Literal["wilson", "exact"] = "wilson" if method == "wilson" else "exact"
        low, high = stats.binomtest(crashed, total).proportion_ci(confidence_level=level, method=named)
    return Rate(total, crashed, crashed / total, float(low), float(high), level, method)


@dataclass(frozen=True, slots=True)
class CleanRuns:
    """Enough runs: when all are clean, the bug is not there, but for the risk `miss`."""

    n: int
    crash_rate: float | Rate
    miss: float  # P(n clean runs | the bug is there); at most what was asked for

    def __str__(self) -> str:
        """`9 clean runs miss a crash rate of 0.30 in 4%`."""
        shown = f"{self.crash_rate:.2g}" if isinstance(self.crash_rate, float) else str(self.crash_rate)
        return f"{self.n} clean runs miss a crash rate of {shown} in {100 * self.miss:.2g}%"


def clean_runs(crash_rate: float | Rate, *, miss: float = 1 - LEVEL) -> CleanRuns:
    """Return the smallest number of runs that all come out clean with a probability of `miss` at most, the bug there.

    Parameters
    ----------
    crash_rate : float or Rate
        P(crash) of one run; or the runs it was learnt from, and then the unknown rate is integrated out under Jeffreys' prior:
        P(n clean | k of m) = B(k + 1/2, m - k + 1/2 + n) / B(k + 1/2, m - k + 1/2). It takes more runs than the estimate does.
    miss : float
        The risk taken, between 0 and 1.
    """
    check_share("clean runs", "miss", miss)
    if isinstance(crash_rate, Rate):
        from scipy.special import betaln

        a, b = crash_rate.k + 0.5, crash_rate.n - crash_rate.k + 0.5

        def risk(n: int) -> float:
            return math.exp(betaln(a, b + n) - betaln(a, b))
    else:
        if not 0 < crash_rate <= 1:
            raise InputError(f"clean runs: need 0 < crash rate <= 1, got {crash_rate}; clean runs never rule out 0")
        log_clean = math.log1p(-crash_rate) if crash_rate < 1 else -math.inf

        def risk(n: int) -> float:
            return math.exp(n * log_clean)

    n = first_true(lambda n: risk(n) <= miss)
    return CleanRuns(n, crash_rate, risk(n))


def runs_for_width(width: float, *, crash_rate: float = 0.5, method: IntervalMethod = "wilson", level: float = LEVEL) -> int:
    """Return from how many runs on the interval of the rate is `width` wide at most.

    Parameters
    ----------
    width : float
        High end less low end, between 0 and 1.
    crash_rate : float
        The rate expected; the number of crashes is rounded towards one half, where intervals are widest. 0.5: whatever comes out.
    """
    check_share("runs for width", "width", width)
    if not 0 <= crash_rate <= 1:
        raise InputError(f"runs for width: need a crash rate from 0 to 1, got {crash_rate}; give a share")

    rarer = min(crash_rate, 1 - crash_rate)  # of crashed and clean; the interval is as wide for both

    def fits(n: int) -> bool:
        found = rate(min(math.ceil(rarer * n - 1e-9), n // 2), n, method=method, level=level)
        return found.high - found.low <= width

    n = first_true(fits)
    # Rounding makes the width a saw; a tooth is as long as it takes to see one more crash.
    tooth = math.ceil(1 / rarer) if rarer * n >= 1 else 1
    return max((m for m in range(max(1, n - tooth), n + 2 * tooth) if not fits(m)), default=0) + 1


def first_true(holds: Callable[[int], bool]) -> int:
    """Return the smallest n >= 1 at which `holds` is true, given that it stays true from there on."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2  # false there, or 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def check_counts(stage: str, crashed: int, total: int, *, least: int = 0) -> None:
    """InputError unless 0 <= crashed <= total and total >= least."""
    if not 0 <= crashed <= total:
        raise InputError(f"{stage}: need 0 <= crashed <= total, got {crashed} of {total}; count the runs again")
    if total < least:
        raise InputError(f"{stage}: need {least} run{'s' * (least > 1)} or more of each, got {total}; run it first")


def check_share(stage: str, name: str, share: float) -> None:
    """InputError unless 0 < share < 1."""
    if not 0 < share < 1:
        raise InputError(f"{stage}: need 0 < {name} < 1, got {share}; give a share, not per cent")
