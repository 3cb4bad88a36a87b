"""Runs one after another until it is clear whether a revision crashes. Read `SequentialTest` first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbench.errors import InputError
from kbench.flakiness.rates import check_share
from kbench.records import Verdict

FloatArray = NDArray[np.float64]

_OPEN = 1e-12  # P(still undecided) at which a test without a limit counts as ended
_ROUNDING = 1e-9  # log likelihood ratios so near to a bound have reached it


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a sequential test does at one true crash rate; exact."""

    mean_runs: float  # expected sample number
    runs_95: int  # decided after so many, in 95% of cases
    crash_rate: float
    p_bad: float  # P(the verdict is bad)
    p_good: float

    def __str__(self) -> str:
        """`rate 0.30: bad in 96%, good in 4%, after 7.2 runs, in 95% at most 17`."""
        verdicts = f"bad in {100 * self.p_bad:.3g}%, good in {100 * self.p_good:.3g}%"
        return f"rate {self.crash_rate:.2g}: {verdicts}, after {self.mean_runs:.1f} runs, in 95% at most {self.runs_95}"


class SequentialTest:
    """Wald's sequential probability ratio test of a crash rate; tell run after run until there is a decision.

    Pure. Wald (1945), Sequential tests of statistical hypotheses, Annals of Mathematical Statistics 16, 117-186; no
    test with these errors needs fewer runs on average at either rate: Wald and Wolfowitz (1948). The bounds are Wald's, on the
    safe side for the sum of both errors; `operating` says what the errors really are.

    Parameters
    ----------
    rate_good, rate_bad : float
        P(crash) of one run of a good and of a bad revision; 0 <= rate_good < rate_bad <= 1. In between either verdict is fine.
    alpha, beta : float
        The risks to call a good revision bad and a bad one good; alpha + beta < 1.
    max_runs : int, optional
        Then the likelier of the two is taken, good when both are equally so: Wald (1947), Sequential Analysis, section 3.8. It
        costs some of both errors.

    Attributes
    ----------
    n, k : int
        Runs told, and those that crashed.
    decision : Verdict or None
        GOOD, BAD, or None as long as it is open. It stays; what is told later is counted and changes nothing.

    Raises
    ------
    InputError
        For parameters out of their range.
    """

    def __init__(
        self, rate_good: float, rate_bad: float, *, alpha: float = 0.05, beta: float = 0.05, max_runs: int | None = None
    ) -> None:
        if not 0 <= rate_good < rate_bad <= 1:
            raise InputError(f"sequential test: need 0 <= rate_good < rate_bad <= 1, got {rate_good}, {rate_bad}; set them apart")
        check_share("sequential test", "alpha", alpha)
        check_share("sequential test", "beta", beta)
        if alpha + beta >= 1:
            raise InputError(f"sequential test: need alpha + beta < 1, got {alpha} and {beta}; a coin does as well")
        if max_runs is not None and max_runs < 1:
            raise InputError(f"sequential test: need max_runs of 1 or more, got {max_runs}; None is no limit")
        self.rate_good, self.rate_bad = rate_good, rate_bad
        self.alpha, self.beta, self.max_runs = alpha, beta, max_runs
        self.n, self.k = 0, 0
        self.decision: Verdict | None = None
        # Wald (1945), equations 3.19 and 3.20.
        self._log_bad, self._log_good = math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))
        self._crash = math.log(rate_bad / rate_good) if rate_good else math.inf
        self._clean = math.log((1 - rate_bad) / (1 - rate_good)) if rate_bad < 1 else -math.inf

    def __str__(self) -> str:
        """`3:8, bad (rate 0.02 or 0.3, alpha 0.05, beta 0.05)`."""
        decision = self.decision.value if self.decision else "undecided"
        design = f"rate {self.rate_good:.2g} or {self.rate_bad:.2g}, alpha {self.alpha:.2g}, beta {self.beta:.2g}"
        return f"{self.k}:{self.n}, {decision} ({design}{f', {self.max_runs} runs at most' if self.max_runs else ''})"

    def tell(self, crashed: bool) -> None:
        """Weigh in one run."""
        self.n, self.k = self.n + 1, self.k + bool(crashed)
        if self.decision is None:
            bad, good = self._decided(self.n, np.array([self.k]))
            self.decision = Verdict.BAD if bad[0] else Verdict.GOOD if good[0] else None

    def operating(self, crash_rate: float) -> OperatingPoint:
        """Return errors and expected number of runs at a true rate: one point of the operating curve.

        Follows P(k crashes in n runs, undecided) from run to run. Without `max_runs`, until the open rest is below 1e-12.
        """
        if not 0 <= crash_rate <= 1:
            raise InputError(f"sequential test: need a crash rate from 0 to 1, got {crash_rate}; give a share")
        first, mass = 0, np.ones(1)  # mass[i] = P(first + i crashes, undecided)
        n, p_bad, p_good, mean_runs, runs_95 = 0, 0.0, 0.0, 0.0, 0
        while (still_open := float(mass.sum())) > _OPEN:
            mean_runs += still_open
            runs_95 += still_open > 0.05
            n += 1
            mass = np.append(mass * (1 - crash_rate), 0.0) + np.append(0.0, mass * crash_rate)
            bad, good = self._decided(n, first + np.arange(len(mass)))
            p_bad, p_good = p_bad + float(mass[bad].sum()), p_good + float(mass[good].sum())
            undecided = np.flatnonzero(~bad & ~good)  # one stretch: the ratio rises with k
            mass = mass[undecided]
            first += int(undecided[0]) if len(undecided) else 0
        return OperatingPoint(mean_runs, runs_95, crash_rate, p_bad, p_good)

    def _decided(self, n: int, k: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        # Which numbers of crashes k, of n runs told without a decision so far, mean bad, and which good.
        with np.errstate(invalid="ignore"):
            log_ratio = np.where(k > 0, k * self._crash, 0.0) + np.where(k < n, (n - k) * self._clean, 0.0)
        bad, good = log_ratio >= self._log_bad - _ROUNDING, log_ratio <= self._log_good + _ROUNDING
        if self.max_runs is not None and n >= self.max_runs:
            bad = log_ratio > _ROUNDING
            good = ~bad
        return bad, good
