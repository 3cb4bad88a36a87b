"""Rates that are not one: drift over revisions, spread between machines. Read `drift` and `overdispersion` first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbench.errors import InputError
from kbench.flakiness.comparison import Counts
from kbench.flakiness.rates import LEVEL, check_counts, check_share

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drift:
    """Does the rate change from revision to revision, and does it rise or fall?"""

    n: int  # runs of all revisions
    k: int
    n_revisions: int  # that were run
    slope: float  # change of the rate for one unit of position
    low: float
    high: float
    p_trend: float  # P(a slope so steep | one rate for all)
    p_equal: float  # P(rates so different, in whatever order | one rate for all)
    level: float = LEVEL

    def __str__(self) -> str:
        """`31:120 over 12 revisions, slope 0.031 [0.008, 0.053] 95%, p 0.0073; rates differ with p 0.1`."""
        slope = f"slope {self.slope:.2g} [{self.low:.2g}, {self.high:.2g}] {100 * self.level:.4g}%, p {self.p_trend:.2g}"
        return f"{self.k}:{self.n} over {self.n_revisions} revisions, {slope}; rates differ with p {self.p_equal:.2g}"


def drift(counts: Sequence[Counts], positions: Sequence[float] | None = None, *, level: float = LEVEL) -> Drift:
    """Test whether the crash rate drifts over revisions.

    The trend is Cochran's and Armitage's: Cochran (1954), Biometrics 10, 417-451; Armitage (1955), Tests for linear trends in
    proportions and frequencies, Biometrics 11, 375-386. The slope is the weighted regression it belongs to, with its
    standard error under one rate, so that the interval leaves out 0 just when p is below 1 - level. `p_equal` is
    Pearson's chi-square. Both are for large counts: expect ten crashes or more in all.

    Parameters
    ----------
    counts : sequence of (crashes, runs)
        One a revision.
    positions : sequence of float, optional
        Where each revision lies, in commits or days; 0, 1, 2, … when not given.

    Raises
    ------
    InputError
        Impossible counts, fewer than two revisions that were run at different positions.
    """
    check_share("drift", "level", level)
    k, n = _arrays("drift", counts, "revisions")
    if positions is not None and len(positions) != len(counts):
        raise InputError(f"drift: need a position for each of {len(counts)} revisions, got {len(positions)}; give one each")
    x = np.arange(len(counts), dtype=float) if positions is None else np.asarray(positions, dtype=float)
    n_all, k_all = int(n.sum()), int(k.sum())
    run = n > 0
    if len(np.unique(x[run])) < 2:
        raise InputError("drift: need revisions at two positions or more, got one; test further revisions")
    from scipy import stats

    x = x - (n @ x) / n_all
    spread = float(n @ x**2)
    p = k_all / n_all
    slope, error = float(k @ x) / spread, math.sqrt(p * (1 - p) / spread)
    if error == 0:  # none crashed, or all did
        return Drift(n_all, k_all, int(run.sum()), 0.0, 0.0, 0.0, 1.0, 1.0, level)
    half = float(stats.norm.isf((1 - level) / 2)) * error
    p_trend = 2 * float(stats.norm.sf(abs(slope) / error))
    p_equal = float(stats.chi2_contingency([k[run], (n - k)[run]], correction=False).pvalue)
    return Drift(n_all, k_all, int(run.sum()), slope, slope - half, slope + half, p_trend, p_equal, level)


@dataclass(frozen=True, slots=True)
class Overdispersion:
    """Runs on several machines: one rate for all, or every machine its own, drawn from a beta distribution?"""

    n: int  # runs of all machines
    k: int
    n_machines: int  # that were run
    mean: float  # of the machines' rates
    rho: float  # correlation of two runs on one machine: 0 is plain binomial, 1 is one outcome a machine
    p_value: float  # P(a spread so wide | one rate for all)
    effective_runs: float  # independent runs that would say as much about the mean

    @property
    def alpha(self) -> float:
        """First parameter of the beta distribution of rates; inf when they do not differ."""
        return self.mean * (1 - self.rho) / self.rho if self.rho else math.inf

    @property
    def beta(self) -> float:
        """Its second parameter."""
        return (1 - self.mean) * (1 - self.rho) / self.rho if self.rho else math.inf

    def __str__(self) -> str:
        """`41:60 on 6 machines, mean 0.68, correlation 0.21, p 0.0034; worth 19 independent runs`."""
        fit = f"mean {self.mean:.2f}, correlation {self.rho:.2g}, p {self.p_value:.2g}"
        return f"{self.k}:{self.n} on {self.n_machines} machines, {fit}; worth {self.effective_runs:.0f} independent runs"


def overdispersion(counts: Sequence[Counts]) -> Overdispersion:
    """Fit a beta-binomial distribution to the counts of several machines by maximum likelihood.

    Skellam (1948), A probability distribution derived from the binomial distribution by regarding the probability of success
    as variable between the sets of trials, JRSS B 10, 257-261; in mean and correlation, which stays finite for one
    rate, as Williams (1975), Biometrics 31, 949-952. The test is the likelihood ratio against the binomial; one rate lies
    on the edge, so p is half of chi-square's: Self and Liang (1987), JASA 82,
    605-610. It errs towards one rate when machines are few.

    Parameters
    ----------
    counts : sequence of (crashes, runs)
        One a machine.

    Raises
    ------
    InputError
        Impossible counts, fewer than two machines, or none with two runs: then nothing shows how alike a machine's runs are.
    """
    k, n = _arrays("overdispersion", counts, "machines")
    if n.max() < 2:
        raise InputError("overdispersion: need a machine with two runs or more, got one run each; run again on the same machines")
    n_all, k_all = int(n.sum()), int(k.sum())
    mean, rho, gain = k_all / n_all, 0.0, 0.0
    if 0 < k_all < n_all:
        mean, rho, gain = _fit(k, n, mean)
    from scipy.stats import chi2

    p_value = 0.5 * float(chi2.sf(2 * gain, 1)) if gain > 0 else 1.0
    # A machine's runs have variance n (1 + (n - 1) rho) times that of one: Williams (1975).
    run = n[n > 0]
    effective = float((run / (1 + (run - 1) * rho)).sum())
    return Overdispersion(n_all, k_all, len(run), mean, rho, p_value, effective)


def _fit(k: IntArray, n: IntArray, pooled: float) -> tuple[float, float, float]:
    # Mean, correlation, and by how much their log likelihood exceeds the binomial's.
    from scipy.optimize import minimize

    # P(k of n) is a product over the r-th crash, r-th clean run and r-th run of a machine; how many machines had an r-th.
    r = np.arange(int(n.max()))
    crashes, cleans, runs = ((counts[:, None] > r).sum(axis=0) for counts in (k, n - k, n))

    def loss(at: FloatArray) -> tuple[float, FloatArray]:
        # The log likelihood with its sign turned, and its derivatives.
        mean, rho = at
        crash, clean, run = (share * (1 - rho) + r * rho for share in (mean, 1 - mean, 1.0))
        likely = crashes @ np.log(crash) + cleans @ np.log(clean) - runs @ np.log(run)
        by_mean = (1 - rho) * (crashes / crash - cleans / clean).sum()
        by_rho = crashes @ ((r - mean) / crash) + cleans @ ((r - 1 + mean) / clean) - runs @ ((r - 1) / run)
        return -float(likely), -np.array([by_mean, by_rho])

    binomial_loss = loss(np.array([pooled, 0.0]))[0]
    found = minimize(
        loss,
        np.array([pooled, 0.1]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1e-9, 1 - 1e-9), (0.0, 1 - 1e-9)],
        options={"ftol": 1e-13, "gtol": 1e-9},
    )
    gain = binomial_loss - float(found.fun)
    return (float(found.x[0]), float(found.x[1]), gain) if gain > 1e-9 else (pooled, 0.0, 0.0)


def _arrays(stage: str, counts: Sequence[Counts], what: str) -> tuple[IntArray, IntArray]:
    # Crashes and runs, shape (groups,) each.
    for crashed, total in counts:
        check_counts(stage, crashed, total)
    if sum(total > 0 for _, total in counts) < 2:
        raise InputError(f"{stage}: need 2 {what} or more that were run, got fewer; run another one")
    k, n = np.array(counts, dtype=np.int64).T
    return k, n
