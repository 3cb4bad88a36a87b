"""How often a reproducer crashes, with its interval. Pure; read `rate` first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from kbench.errors import InputError

LEVEL = 0.95  # of every interval shown


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of runs that crashed, `k` of `n`, and the interval that holds the true rate at `LEVEL`."""

    estimate: float  # k / n; nan when nothing was run
    low: float
    high: float
    n: int
    k: int

    def __str__(self) -> str:
        """`0.35 [0.18, 0.57] 95%`."""
        return f"{self.estimate:.2f} [{self.low:.2f}, {self.high:.2f}] {LEVEL:.0%}"


@lru_cache(maxsize=4096)
def rate(crashed: int, total: int) -> Rate:
    """Return the crash rate of `total` runs with Wilson's score interval.

    Stays inside [0, 1] and is not empty at 0 or n crashes: Wilson (1927), Probable inference, the law of succession,
    and statistical inference, JASA 22, 209-212.

    Raises
    ------
    InputError
        If not 0 <= crashed <= total.
    """
    if not 0 <= crashed <= total:
        raise InputError(f"rate: need 0 <= crashed <= total, got {crashed} of {total}; count the runs again")
    if total == 0:
        return Rate(float("nan"), 0.0, 1.0, 0, 0)
    from scipy.stats import binomtest  # half a second, and `import kbench` must stay light

    interval = binomtest(crashed, total).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Rate(crashed / total, float(interval.low), float(interval.high), total, crashed)
